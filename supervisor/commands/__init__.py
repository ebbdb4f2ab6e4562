"""One file for each command of `clientsync-supervisor`."""
