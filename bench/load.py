"""Steady load, run as a process of its own: `python -m bench.load URI DATABASE UPDATES_PER_SECOND`.

Updates customers one by one, each named by chance, 20 at a time; prints how many it has done, every second.
"""

import random
import sys
import time
from typing import Any

from pymongo import MongoClient, UpdateOne

AT_ONCE = 20


def main(uri: str, name: str, per_second: str) -> None:
    """Update until killed, never faster than asked for."""
    dice, rate = random.Random(1), int(per_second)
    with MongoClient[Any](uri, w=1) as client:
        customers = client[name].customers
        ids = [each["_id"] for each in customers.find({"probe": {"$exists": False}}, {"_id": 1})]
        began, done, told = time.monotonic(), 0, 0
        while True:
            customers.bulk_write(
                [UpdateOne({"_id": dice.choice(ids)}, {"$inc": {"visits": 1}}) for _ in range(AT_ONCE)],
                ordered=False,
            )
            done += AT_ONCE
            late = time.monotonic() - began - done / rate
            time.sleep(max(0.0, -late))
            if time.monotonic() - began >= told + 1:
                told += 1
                print(done, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
