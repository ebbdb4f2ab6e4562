"""R1: two fences at the same time, of two instances: each ends all that read before it."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from procs.anonymise import Anonymiser
from procs.config import Database
from procs.fence import Fenced, Registration, raise_fence
from procs.mirror import Mirror
from tests.mongo.customers import EVERYTHING, Customers, Rename, customer, ids
from tests.mongo.held import HeldCopy
from tests.mongo.test_schedules import Converged

Interrupt = Callable[..., None]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Have `action(go_on)` run in the place of the next call of one of the methods of a collection."""

    def before_next(action: Callable[[Callable[[], Any]], Any], *names: str) -> None:
        originals = {name: getattr(Collection, name) for name in names}

        def hooked(name: str) -> Callable[..., Any]:
            def interrupted(*arguments: Any, **options: Any) -> Any:
                for each, original in originals.items():
                    monkeypatch.setattr(Collection, each, original)
                return action(lambda: originals[name](*arguments, **options))

            return interrupted

        for name in names:
            monkeypatch.setattr(Collection, name, hooked(name))

    return before_next


FORGETS, LISTS = ("delete_one", "delete_many"), ("find",)


@pytest.mark.parametrize("first_knows_it", [False, True])
def test_r1_a_fence_also_ends_whom_another_fence_forgets_meanwhile(
    client: MongoClient[Any],
    database: Database,
    source: Customers,
    mirror: Mirror,
    anonymise: Anonymiser,
    converged: Converged,
    rename: Rename,
    one: Any,
    interrupt: Interrupt,
    first_knows_it: bool,
) -> None:
    """The first has ended its sessions; a copy begins; the second marks it, the first forgets it."""
    source.insert_one(customer(one, "A"))
    mirror.copy_ids(ids(one))
    rename("B")
    held = HeldCopy(client, database, anonymise, lambda copier: copier.copy_ids(ids(one)))
    if first_knows_it:
        raise_fence(client, database)  # forgets all others
        held.register()

    def second_fence_and_scan(forget: Callable[[], Any]) -> None:
        held.__enter__()
        rename("A")  # the second position is behind it: no event will tell
        interrupt(lambda list_: (forget(), list_())[1], *LISTS)
        raise_fence(client, database)
        mirror.copy_range(EVERYTHING, 100)

    interrupt(second_fence_and_scan, *FORGETS)
    raise_fence(client, database)
    held.__exit__()

    assert converged()
    assert held.tries == 2


def test_r1_a_fence_also_ends_who_registered_while_another_fence_was_raised(
    client: MongoClient[Any],
    database: Database,
    target: Customers,
    interrupt: Interrupt,
) -> None:
    """It registers after the first has marked, before it lists; its transaction begins after it was ended."""
    target.insert_one({"_id": 1})
    registration = Registration(client, database, None)
    with client.start_session() as session:

        def begin(forget: Callable[[], Any]) -> Any:
            session.start_transaction()
            registration.confirm(session)
            target.update_one({"_id": 1}, {"$set": {"n": 1}}, session=session)
            return forget()

        def register(list_: Callable[[], Any]) -> Any:
            registration.ensure(session)
            interrupt(begin, *FORGETS)
            return list_()

        interrupt(register, *LISTS)
        raise_fence(client, database)

        with pytest.raises((Fenced, OperationFailure)):  # it finds itself fenced, or ended
            raise_fence(client, database)
            session.commit_transaction()
