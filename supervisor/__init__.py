"""The parent: command line, settings, process tree, restarts, pipes, control socket, status, logs."""

__version__ = "0.1.0"
