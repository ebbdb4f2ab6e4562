"""What the exit codes of every command mean."""

DONE = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
PERMANENT = 78
"""EX_CONFIG: bad settings, or another error that a restart cannot mend."""
