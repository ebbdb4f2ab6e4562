"""`make chaos`: SECONDS (60) of storm from SEED (the time) on; the next seed follows until they are over."""

import os
import sys
import tempfile
import time
from pathlib import Path

from procs.config import Database
from tests.chaos.storm import Storm
from tests.mongod_process import MongodProcess
from tests.system.command_line import CommandLine

ROUND_S = 60.0


def main() -> None:
    seconds, seed = float(os.environ.get("SECONDS") or 60), int(os.environ.get("SEED") or time.time())
    left, kills = seconds, 0
    with tempfile.TemporaryDirectory() as directory, MongodProcess(Path(directory) / "mongod") as mongod:
        while left > 0:
            place = Path(directory) / str(seed)
            place.mkdir()
            database = Database(mongod.uri, f"storm_{seed}", "customers", "customers_anonymised")
            cli = CommandLine(place, {"MONGO_URI": mongod.uri, "MONGO_DB": database.name})
            report = Storm(cli, database, seed).rage(min(left, ROUND_S))
            sys.stdout.write(f"{report}\n")
            sys.stdout.flush()
            left, seed, kills = left - ROUND_S, seed + 1, kills + report.kills.total()
    sys.stdout.write(f"{kills} kills, no divergence\n")


if __name__ == "__main__":
    main()
