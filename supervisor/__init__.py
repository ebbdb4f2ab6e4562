"""The parent: command line, settings, process tree, restarts, pipes, control socket, status, logs."""

__version__ = "0.1.0"
STATUS_VERSION = 2
"""That of the format of the status (docs/status.md)."""
