"""Each way in which the embedded mongod ends, and what the operator is told."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from procs import mongod
from procs.errors import PermanentError, TemporaryError
from procs.mongod_exit import explain
from procs.mongod_home import Home
from tests.mongo.embedded import failure, make_of_newer_version, started
from tests.mongod_process import mongods_of

CANARY = "canary.customer@example.com"


class TestEnd:
    def test_data_of_a_newer_version(self, home: Path) -> None:
        with started(home):
            pass
        make_of_newer_version(home)

        error = failure(mongod.try_start(home))

        assert isinstance(error, PermanentError)
        assert "another version of MongoDB" in str(error)
        assert str(home / "data") in str(error)

    @pytest.mark.parametrize("name", ["WiredTiger.wt", "WiredTiger.turtle", "storage.bson"])
    def test_damaged_data(self, home: Path, name: str) -> None:
        with started(home):
            pass
        (home / "data" / name).write_bytes(b"garbage" * 1000)

        error = failure(mongod.try_start(home))

        assert isinstance(error, PermanentError)
        assert f"the data in {home / 'data'} are damaged" in str(error)

    def test_killed(self, home: Path) -> None:
        with started(home) as own:
            os.kill(own.pid, signal.SIGKILL)

            error = failure(own)

        assert isinstance(error, TemporaryError)
        assert "was killed by SIGKILL" in str(error)
        assert str(home / "mongod.log") in str(error)

    def test_crashed_at_work_may_be_started_again(self, home: Path) -> None:
        with started(home) as own:
            os.kill(own.pid, signal.SIGABRT)

            assert isinstance(failure(own), TemporaryError)

    def test_full_disk(self, tmp_path: Path) -> None:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False)
        if mounted.returncode != 0:
            pytest.skip("only root can mount a small disk")
        try:
            error = failure(mongod.try_start(tmp_path / "mongodb"))
        finally:
            subprocess.run(["umount", tmp_path], check=True)

        assert isinstance(error, PermanentError)
        assert f"no space left for the embedded MongoDB in {tmp_path / 'mongodb'} (0 MB are free)" in str(
            error
        )

    def test_missing_shared_library(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "libcurl.so.4").write_bytes(b"")
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))

        error = failure(mongod.try_start(home))

        assert isinstance(error, PermanentError)
        assert "lacks shared libraries" in str(error)

    def test_not_for_this_machine(self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        foreign = tmp_path / "bin" / "mongod"
        foreign.parent.mkdir()
        foreign.write_bytes(b"\x7fELF of another machine")
        foreign.chmod(0o755)
        monkeypatch.setattr(mongod, "PACKAGE", "no-such-package")
        monkeypatch.setenv("PATH", str(foreign.parent))

        error = failure(mongod.try_start(home))

        assert isinstance(error, PermanentError)
        assert str(error).startswith(f"{foreign} cannot be executed on this machine")

    @pytest.mark.parametrize(
        ("logged", "listened", "kind", "told"),
        [
            ("... No space left on device ...", True, PermanentError, "no space left for"),
            (
                "... Attempted to create a lock file on a read-only directory",
                False,
                PermanentError,
                "cannot write",
            ),
            ("", True, TemporaryError, "ended with exit code 14"),
        ],
    )
    def test_the_log_tells_a_full_disk_and_missing_rights(
        self, tmp_path: Path, logged: str, listened: bool, kind: type[Exception], told: str
    ) -> None:
        found = Home(tmp_path, 20_000, "secret")
        found.log.write_text(f'{{"msg":"{logged}", "customer": "{CANARY}"}}\n')

        error = explain(Path("mongod"), found, 14, listened=listened)

        assert type(error) is kind
        assert told in str(error)
        assert CANARY not in str(error)

    def test_one_that_never_becomes_primary(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mongod, "START_S", 0.0)

        error = failure(mongod.try_start(home))

        assert isinstance(error, TemporaryError)
        assert "did not become a writable primary" in str(error)

    def test_a_hanging_one_is_killed_when_it_does_not_stop(self, home: Path) -> None:
        with started(home) as own:
            os.kill(own.pid, signal.SIGSTOP)

            own.stop(0.1)

            assert mongods_of(home) == []
