"""How much is asked: `make faults` asks for more than the suite does."""

import os

IN_FULL = os.environ.get("FAULTS") == "full"
