"""`make bench`: prints a table, writes bench/results/*.json. QUICK=1 for a first look."""

import json
import os
import platform
from pathlib import Path
from statistics import median

from bench import full

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print ratios to the floor, keep the raw figures."""
    quick = bool(os.environ.get("QUICK"))
    customers, rounds = (20_000, 3) if quick else (200_000, 5)
    seconds = full.measure(customers, rounds)
    floor = seconds["raw copy"]
    print(
        f"{customers} customers, {rounds} rounds, Python {platform.python_version()}, {os.cpu_count()} cores"
    )
    print(f"{'':20} {'median s':>9} {'speed, raw copy = 1':>20}")
    for name, each in seconds.items():
        ratio = median(base / one for base, one in zip(floor, each, strict=True))
        print(f"{name:20} {median(each):9.2f} {ratio:20.2f}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "full.json").write_text(json.dumps({"customers": customers, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
