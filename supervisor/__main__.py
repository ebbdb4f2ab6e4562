"""`python -m supervisor` is `clientsync-supervisor`."""

from supervisor.cli import main

main(prog_name="clientsync-supervisor")
