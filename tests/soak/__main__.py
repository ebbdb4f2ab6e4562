"""`make soak`: MINUTES (30) of load, kills, reloads and reindexes; fails if anything grows without bound.

CURVES=file.csv keeps all that was measured, SEED=… repeats the dice.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from procs.config import Database
from tests.mongod_process import MongodProcess
from tests.soak.soak import CHORE_EVERY_S, SAMPLE_EVERY_S, SERVER_OPTIONS, Soak, settings
from tests.system.command_line import CommandLine


def main() -> None:
    minutes = float(os.environ.get("MINUTES") or 30)
    seed = int(os.environ.get("SEED") or time.time())
    with (
        tempfile.TemporaryDirectory() as directory,
        MongodProcess(Path(directory) / "mongod", *SERVER_OPTIONS) as mongod,
    ):
        database = Database(mongod.uri, "soak", "customers", "customers_anonymised")
        cli = CommandLine(Path(directory), settings(mongod, database))
        soak = Soak(cli, mongod, database, seed)
        try:
            soak.run(minutes * 60, sample_every_s=SAMPLE_EVERY_S, chore_every_s=CHORE_EVERY_S)
        finally:
            sys.stdout.write(f"seed {seed}, {minutes:g} minutes\n{soak.report.curves.table()}\n")
            if path := os.environ.get("CURVES"):
                Path(path).write_text(soak.report.curves.csv())
    sys.stdout.write(f"{soak.report}\n")
    sys.exit(1 if soak.report.curves.grown() else 0)


if __name__ == "__main__":
    main()
