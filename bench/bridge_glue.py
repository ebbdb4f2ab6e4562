"""What makes a mirror of that which mq-bridge reads: `python bridge_glue.py URI DATABASE`, until killed."""

import hashlib
import sys
from typing import Any

from bson import json_util
from mq_bridge import Consumer
from pymongo import DeleteOne, MongoClient, ReplaceOne

TOP, ADDRESS = ("firstName", "lastName", "email"), ("line1", "line2", "postcode")


def hashed(customer: dict[str, Any]) -> dict[str, Any]:
    """Hash the sensitive fields, as far as they are there."""
    for part, names in ((customer, TOP), (customer.get("address", {}), ADDRESS)):
        for name in names:
            if name in part:
                part[name] = hashlib.sha256(part[name].encode()).hexdigest()[:8]
    return customer


def main(uri: str, database: str) -> None:
    """Read what is there, then what changes."""
    read = {"url": uri, "database": database, "collection": "customers", "consume": "capture_all"}
    consumer = Consumer.from_config({"mongodb": read})
    mirror = MongoClient[Any](uri)[database].customers_anonymised
    while True:
        writes: list[Any] = []
        for message in consumer.poll(max=1000):
            customer = json_util.loads(message.payload)
            key = {"_id": customer["_id"]}
            gone = message.metadata["mongodb.operation"] == "delete"
            writes.append(DeleteOne(key) if gone else ReplaceOne(key, hashed(customer), upsert=True))
        if writes:
            mirror.bulk_write(writes)
        consumer.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
