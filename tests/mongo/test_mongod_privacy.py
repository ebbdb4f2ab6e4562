"""What the embedded mongod keeps from other users of the machine, and out of its log."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from pymongo.errors import OperationFailure

from procs import mongod
from procs.mongod_home import open_home
from tests.eventually import eventually
from tests.mongo.embedded import Client, insert, started

CANARY = "canary.customer@example.com"


class TestPrivacy:
    def test_nobody_reads_or_writes_without_the_password(self, home: Path) -> None:
        with started(home) as own:
            insert(home, {"_id": 1})
            address = f"mongodb://127.0.0.1:{own.home.port}/?directConnection=true"
            with Client(address, timeoutMS=10_000) as stranger:
                for attempt in (
                    stranger.shop.customers.find_one,
                    lambda: stranger.shop.customers.insert_one({}),
                    lambda: stranger.admin.command("createUser", "me", pwd="x", roles=["root"]),
                    stranger.list_database_names,
                ):
                    with pytest.raises(OperationFailure) as refused:
                        attempt()
                    assert refused.value.code == 13

    def test_only_the_owner_may_open_its_files(self, home: Path) -> None:
        with started(home) as own:
            insert(home, {"_id": 1})
            own.stop(10)
        paths = [home, *home.rglob("*")]

        modes = {path.relative_to(home): path.stat().st_mode & 0o777 for path in paths}

        assert len(paths) > 10
        assert {mode for path, mode in modes.items() if (home / path).is_dir()} == {0o700}
        assert {mode for path, mode in modes.items() if (home / path).is_file()} == {0o600}

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
    def test_another_local_user_cannot_read_the_secrets(self) -> None:
        with tempfile.TemporaryDirectory() as parent:
            Path(parent).chmod(0o755)
            found = open_home(Path(parent) / "mongodb")
            own_files = subprocess.run(["cat", found.password_file], capture_output=True, check=True)
            assert own_files.stdout.strip() == found.password.encode()

            stranger = subprocess.run(
                ["cat", found.password_file], user=65534, capture_output=True, check=False
            )

        assert stranger.returncode != 0
        assert stranger.stdout == b""

    def test_a_directory_that_was_open_to_all_is_closed(self, home: Path) -> None:
        home.mkdir(mode=0o755)

        mongod.prepare(home)

        assert home.stat().st_mode & 0o777 == 0o700

    def test_the_log_shows_no_customer_however_slow_the_query(self, home: Path) -> None:
        slow = {"email": CANARY, "$where": "sleep(150) || true"}
        with started(home) as own, Client(mongod.prepare(home), timeoutMS=20_000) as client:
            shop = client.shop
            shop.customers.insert_many({"n": n, "email": CANARY if n == 0 else str(n)} for n in range(5000))
            assert shop.customers.find_one(slow) is not None
            shop.customers.update_many({"email": {"$regex": CANARY}}, {"$set": {"copy": CANARY}})
            assert CANARY not in own.home.log.read_text()

            # The same query does show up as soon as the log of slow operations is on.
            client.admin.command("profile", 0, slowms=0, sampleRate=1.0)
            shop.customers.find_one(slow)
            eventually(lambda: CANARY in own.home.log.read_text(), message="the canary in the slow log")

    def test_it_is_given_no_secret_that_stands_in_our_environment(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANON_KEY", CANARY)

        with started(home) as own:
            environment = Path(f"/proc/{own.pid}/environ").read_bytes()

        assert b"PATH=" in environment
        assert CANARY.encode() not in environment

    def test_the_password_shows_in_no_repr(self, home: Path) -> None:
        found = open_home(home)

        assert found.password in found.uri
        assert found.password not in repr(found)
