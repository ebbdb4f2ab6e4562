"""The `_id`s that the generator gives."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from bson import ObjectId

from procs.generator import with_ids


def test_every_customer_gets_an_id_of_its_own_before_all_other_fields() -> None:
    batches = [with_ids([{"firstName": "Ada", "n": n} for n in range(1000)]) for _ in range(20)]

    customers = [each for batch in batches for each in batch]
    assert {tuple(each) for each in customers} == {("_id", "firstName", "n")}
    assert [each["n"] for each in customers] == list(range(1000)) * 20
    assert len({each["_id"] for each in customers}) == 20_000


def test_an_id_tells_when_it_was_given_and_later_ones_are_greater() -> None:
    before = datetime.now(UTC).replace(microsecond=0)

    ids = [each["_id"] for _ in range(3) for each in with_ids([{}] * 100)]

    assert {type(each) for each in ids} == {ObjectId}
    assert ids == sorted(ids)
    assert all(before <= each.generation_time <= before + timedelta(minutes=1) for each in ids)


def test_two_processes_give_different_ids() -> None:
    program = "from procs.generator import with_ids; print(*(each['_id'] for each in with_ids([{}] * 100)))"
    outputs = [subprocess.check_output([sys.executable, "-c", program], text=True).split() for _ in range(2)]

    assert len({*outputs[0], *outputs[1]}) == 200


def test_a_forked_process_gives_ids_of_its_own() -> None:
    with_ids([{}])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, with_ids([{}])[0]["_id"].binary)
        os._exit(0)
    os.close(writer)

    os.waitpid(child, 0)
    theirs, ours = os.read(reader, 12), with_ids([{}])[0]["_id"].binary
    os.close(reader)

    assert theirs[4:9] != ours[4:9]
