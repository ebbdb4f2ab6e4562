"""R1: who is taken out of the mirror because it refuses them, and who is not."""

from typing import Any

from pymongo import MongoClient

from procs.anonymise import Anonymiser
from procs.config import Database
from procs.copied import Copied
from procs.messages import Id
from procs.mirror import Mirror
from tests.mongo.customers import Customers, customer, ids
from tests.mongo.held import HeldCopy
from tests.mongo.test_schedules import Converged, copy_all

UNMIRRORABLE = {"_id.kind": "unmirrorable"}


def test_r1_a_customer_that_another_process_could_mirror_meanwhile_is_not_taken_out(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    mirror: Mirror,
    anonymise: Anonymiser,
    converged: Converged,
) -> None:
    """The scanner is refused; the customer is mended and mirrored; then the scanner takes it out."""

    class SlowMirror(Mirror):
        tries = 0

        def _set_aside(self, id_: Id, code: int) -> Copied:
            self.tries += 1
            if self.tries == 1:
                source.update_one({"_id": 1}, {"$set": {"n": 1}})
                mirror.copy_ids(ids(1))
            return super()._set_aside(id_, code)

    client[database.name].command("collMod", database.mirror, validator={"n": {"$lt": 5}})
    source.insert_one(customer(1) | {"n": 9})
    slow = SlowMirror(client, database, anonymise, keep=True)

    copy_all(slow)

    assert converged()
    slow.close()


def test_a_customer_that_is_gone_is_not_counted_as_one_that_cannot_be_mirrored(
    mirror: Mirror, source: Customers, target: Customers, states: Customers
) -> None:
    """The touch of an absent customer has no e-mail, as the image of 1 has none."""
    target.create_index("email", unique=True)
    source.insert_one({"_id": 1})
    mirror.copy_ids(ids(1))

    mirror.copy_ids(ids("gone"))

    assert states.count_documents(UNMIRRORABLE) == 0


def test_r1_inserted_and_deleted_before_it_was_mirrored_does_not_come_back_under_a_unique_index(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    target: Customers,
    mirror: Mirror,
    anonymise: Anonymiser,
    converged: Converged,
) -> None:
    target.create_index("email", unique=True)
    source.insert_one({"_id": 1})
    mirror.copy_ids(ids(1))
    source.insert_one(customer(2))
    with HeldCopy(client, database, anonymise, copy_all) as held:
        source.delete_one({"_id": 2})
        mirror.copy_ids(ids(2))

        held.let_go()

    assert converged()
