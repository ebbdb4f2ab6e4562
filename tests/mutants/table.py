"""Deliberate breaks of the rules R1 to R6, and for each the test that must notice it."""

from typing import NamedTuple

SCHEDULES, LIVE = "tests/mongo/test_schedules.py", "tests/mongo/test_schedules_live.py"
SYNC, MIRROR = "tests/mongo/test_live_sync.py", "tests/mongo/test_mirror.py"
COME_AND_GO = "tests/mongo/test_source_and_mirror_come_and_go.py"


class Mutant(NamedTuple):
    """In `file`, each `(before, after)` is replaced; `before` must stand there exactly once."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    test: str


# fmt: off
MUTANTS = (
    Mutant("no touch", "procs/mirror.py", (("        if ids:\n", "        if False:\n"),),
           f"{SCHEDULES}::test_aba_a_customer_that_is_changed_and_changed_back_is_not_stale"),
    Mutant("no touch of what is absent", "procs/mirror.py",
           (("return self._write(source, mirror, touch=ids)",
             "return self._write(source, mirror, touch=list(source))"),),
           f"{SCHEDULES}::test_inserted_and_deleted_before_it_was_mirrored_does_not_come_back"),
    Mutant("no touch of what is present", "procs/mirror.py",
           (("return self._write(source, mirror, touch=ids)",
             "return self._write(source, mirror, touch=[id_ for id_ in ids if id_ not in source])"),),
           f"{SCHEDULES}::test_deleted_and_inserted_again_alike_is_not_lost"),
    Mutant("writes outside the transaction", "procs/mirror.py",
           (("self.pair.mirror.bulk_write(bulk, session=self._session)", "self.pair.mirror.bulk_write(bulk)"),),
           f"{SCHEDULES}::test_two_writers_on_one_customer_the_one_that_read_earlier_reads_again"),
    Mutant("no retry after a conflict", "procs/mirror.py",
           (("                return self._session.with_transaction("
             "confirmed, SNAPSHOT, MAJORITY, ReadPreference.PRIMARY)\n",
             "                with self._session.start_transaction(SNAPSHOT, MAJORITY, ReadPreference.PRIMARY):\n"
             "                    return confirmed(self._session)\n"),),
           f"{SCHEDULES}::test_two_writers_on_one_customer_the_one_that_read_earlier_reads_again"),
    Mutant("deletes are left out", "procs/mirror.py",
           (("deleted = [id_ for id_ in mirror if id_ not in images]", "deleted: list[Id] = []"),),
           f"{MIRROR}::test_copying_ids_inserts_replaces_and_deletes"),
    Mutant("no fence", "procs/fence.py",
           (("    states = state.collection(client, database)\n    ours =",
             "    return 0.0\n    states = state.collection(client, database)\n    ours ="),),
           f"{SCHEDULES}::test_a_fence_ends_what_read_before_it_and_its_owner_reads_again"),
    Mutant("sessions are not registered", "procs/fence.py",
           (("        if self._registered:\n            return\n", "        return\n"),
            ("            self._registered = False\n            raise Fenced\n", "            return\n")),
           f"{SCHEDULES}::test_a_fence_ends_what_read_before_it_and_its_owner_reads_again"),
    Mutant("a transaction does not look whether it is fenced", "procs/fence.py",
           (("            self._registered = False\n            raise Fenced\n", "            return\n"),),
           "tests/mongo/test_takeover.py"),
    Mutant("the fence before the position", "procs/listener.py",
           (("        ride_out(self._life, self._open)\n        self._ask_for_scan()\n",
             "        raise_fence(self._client, self._database)\n"
             "        ride_out(self._life, self._open)\n        self._ask_for_scan(fence=False)\n"),
            ("    def _ask_for_scan(self) -> None:", "    def _ask_for_scan(self, fence: bool = True) -> None:"),
            ("        self._wait_out(", "        fence and self._wait_out(")),
           f"{LIVE}::test_r1_the_position_is_taken_before_the_fence_not_after_it"),
    Mutant("the checkpoint before the effect", "procs/listener.py",
           (("        return self._scanner.done >= sent.to_scanner and self._writer.done >= sent.to_writer\n",
             "        return True\n"),),
           f"{LIVE}::test_r2_no_checkpoint_passes_a_change_that_is_read_and_not_written_yet"),
    Mutant("an idle stream saves no checkpoint", "procs/listener.py",
           (("        checkpoint = Checkpoint(self._position, self._identity, self._source_missing)\n",
             "        checkpoint = Checkpoint(self._position, self._identity, self._source_missing)\n"
             "        if not ids and self._done:\n            return\n"),),
           f"{SYNC}::test_r2_the_checkpoint_moves_while_the_source_is_idle"),
    Mutant("an older term may save", "procs/checkpoint.py",
           (("        if term is None:\n            return {", "        if True:\n            return {"),),
           f"{SYNC} tests/mongo/test_takeover.py"),
    Mutant("a swallowed error", "procs/flush.py", (("        except SourceMissing:\n", "        except Exception:\n"),),
           f"{LIVE}::test_r2_an_error_of_the_server_is_not_taken_for_done"),
    Mutant("only what is above the last mirrored customer", "procs/walk.py",
           (("spans = [Range(last_mirror, last_source), Range(None, last_mirror)]",
             "spans = [Range(last_mirror, last_source)]"),),
           f"{SYNC}::test_a_first_start_mirrors_what_is_there_and_removes_what_is_not"),
    Mutant("inserts are found by _id > last", "procs/listener.py",
           (("        for part in split_ids(batch.inserted):\n",
             "        for part in split_ids(tuple(i for i in batch.inserted if i > b'\\x10\\x10')):\n"),),
           f"{SYNC}::test_an_insert_below_the_last_mirrored_id_is_not_missed"),
    Mutant("a bare $gt", "procs/selection.py",
           (("    return RawBSONDocument(rawbson.document([(b\"$expr\", nested([(b\"$and\", every)]))]))\n",
             "    return RawBSONDocument(rawbson.document([(b'_id', nested([(o, b) for o, b in ((b'$gt', span.after),"
             " (b'$lte', span.until)) if b is not None]))]))\n"),),
           f"{MIRROR}::test_chunks_of_any_size_cover_ids_of_every_type"),
    Mutant("a walk forgets the rest of a range", "procs/walk.py",
           (("self.walk.spans[1:] if rest is None else (rest, *self.walk.spans[1:])", "self.walk.spans[1:]"),),
           f"{LIVE}::test_r1_a_kill_after_any_chunk_of_a_walk_lets_the_next_one_go_on"),
    Mutant("a walk that waits for the last insert", "procs/scanner.py",
           (("        if self._walker is not None:  # after each flush too: inserts without end must not hold it up\n",
             "        elif self._walker is not None:\n"),),
           f"{SYNC}::test_r3_a_walk_goes_on_though_a_flush_is_due_in_every_round"),
    Mutant("a walk of collections that are gone", "procs/walk.py",
           (("            now.source,\n            now.mirror,\n",
             "            found.get('source'),\n            found.get('mirror'),\n"),),
           "tests/mongo/test_takeover.py::test_a_walk_is_not_gone_on_with_when_its_mirror_was_replaced"),
    Mutant("no expiry of the lease", "procs/lease.py",
           (('{"$lte": [expires, "$$NOW"]}', '{"$eq": [expires, 0]}'),),
           "tests/mongo/test_lease.py"),
    Mutant("a lease for everybody", "procs/lease.py",
           (('{"$eq": ["$holder", self._holder]}', "True"),),
           "tests/mongo/test_lease.py"),
    Mutant("lost history is not recognised", "procs/changestream.py",
           (("if position is not None and error.code in LOST | GARBAGE:", "if False:"),),
           f"{SYNC}::test_r3_a_damaged_position_leads_to_a_reindex_and_not_to_a_loop"),
    Mutant("lost history without a reindex", "procs/listener.py",
           (("self._position, self._done, self._scan_due = None, None, \"reindex\"",
             "self._position, self._done = None, None"),),
           SYNC),
    Mutant("resumeAfter an invalidate event", "procs/changestream.py",
           (('{"startAfter" if position.start_after else "resumeAfter": position.token}',
             '{"resumeAfter": position.token}'),),
           f"{COME_AND_GO} {SYNC}"),
    Mutant("a dropped source empties its mirror", "procs/mirror.py",
           (("        if self._keep and mirror and not source", "        if False and mirror and not source"),),
           f"{MIRROR}::test_a_source_that_does_not_exist_empties_nothing"),
    Mutant("a changed policy without a reindex", "procs/listener.py",
           (("        if checkpoint.reindex_due:\n", "        if False:\n"),),
           f"{SYNC}::test_a_changed_policy_leads_to_a_reindex"),
    Mutant("decoded and encoded again", "procs/writes.py",
           (("added: list[Write] = [InsertOne(Image(image))]",
             "added: list[Write] = [InsertOne(__import__('bson').decode(image))]"),),
           "tests/mongo/test_bits.py"),
    Mutant("unmirrorable ones block the others", "procs/mirror.py",
           (("        if len(ids) == 1:\n            return self._transact(",
             "        if len(ids) == 1:\n            raise DocumentTooLarge('x')\n            return self._transact("),),
           f"{MIRROR}::test_a_customer_that_outgrows_16_mb_when_hashed_is_left_out_and_never_blocks_the_others"),
    Mutant("the text of an error in the log", "procs/errors.py",
           (("    code = getattr(error, \"code\", None)", "    return str(error)\n    code = getattr(error, \"code\", None)"),),
           "tests/unit/test_logs.py"),
    Mutant("the last @ is the first", "procs/anonymise.py", (("text.rindex(b\"@\")", "text.index(b\"@\")"),),
           "tests/unit/test_anonymise.py"),
    Mutant("hashes of nothing", "procs/anonymise.py",
           (("sha256(text).digest()", "sha256(b'').digest()"),), "tests/unit/test_anonymise.py"),
)
# fmt: on
