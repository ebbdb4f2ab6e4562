"""The directory of the embedded mongod."""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from procs import mongod
from procs.errors import PermanentError
from tests.mongo.embedded import failure, started


class TestDirectory:
    def test_all_who_prepare_it_at_once_get_the_same(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(16) as pool:
            for n in range(20):
                uris = set(pool.map(lambda _, n=n: mongod.prepare(tmp_path / str(n)), range(16)))
                assert len(uris) == 1

    @pytest.mark.parametrize("name", ["port", "password", "keyFile"])
    @pytest.mark.parametrize(("content", "word"), [("", "empty"), ("\x00\xff garbage", "damaged")])
    def test_a_spoilt_file_is_named(self, home: Path, name: str, content: str, word: str) -> None:
        mongod.prepare(home)
        (home / name).write_text(content)

        with pytest.raises(PermanentError, match=rf"{home / name} is {word}: ."):
            mongod.prepare(home)

    def test_a_password_that_is_not_that_of_the_data_is_named(self, home: Path) -> None:
        with started(home):
            pass
        (home / "password").unlink()

        error = failure(mongod.try_start(home))

        assert isinstance(error, PermanentError)
        assert f"{home / 'password'} is not the password" in str(error)

    def test_a_file_in_its_place_is_named(self, home: Path) -> None:
        home.write_text("")

        with pytest.raises(PermanentError, match=f"{home}.*: Not a directory"):
            mongod.prepare(home)

    def test_one_that_cannot_be_written_is_named(self) -> None:
        script = (
            "import os, sys; from pathlib import Path; from procs import mongod\n"
            "os.getuid() == 0 and os.setuid(65534)\n"
            "mongod.prepare(Path(sys.argv[1]))\n"
        )
        with tempfile.TemporaryDirectory() as parent:
            Path(parent).chmod(0o555)
            tried = subprocess.run(
                [sys.executable, "-c", script, f"{parent}/mongodb"],
                capture_output=True,
                text=True,
                check=False,
            )

        assert f"PermanentError: {parent}/mongodb" in tried.stderr
        assert "Permission denied" in tried.stderr
