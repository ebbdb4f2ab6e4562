"""The embedded mongod, without any process around it: start, lock, port."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from procs import mongod, mongod_setup
from procs.errors import PermanentError
from procs.hello import hello
from procs.mongod_home import open_home
from tests.eventually import eventually
from tests.mongo.embedded import Client, customers, failure, insert, started
from tests.mongod_process import MongodProcess, mongods_of


class TestStart:
    def test_gives_a_primary_that_takes_transactions(self, home: Path) -> None:
        with started(home), Client(mongod.prepare(home), timeoutMS=10_000) as client:
            with client.start_session() as session, session.start_transaction():
                client.shop.customers.insert_one({"_id": 1}, session=session)

            assert client.shop.customers.count_documents({}) == 1

    def test_keeps_port_secrets_and_data_over_a_clean_stop(self, home: Path) -> None:
        with started(home) as first:
            before = mongod.prepare(home)
            insert(home, {"_id": 1})
            first.stop(10)
            assert first._process.returncode == 0

        with started(home):
            assert mongod.prepare(home) == before
            assert customers(home) == [1]

    def test_brings_back_what_was_acknowledged_before_a_kill(self, home: Path) -> None:
        with started(home):
            insert(home, {"_id": 1}, {"_id": 2})

        with started(home):
            assert customers(home) == [1, 2]

    @pytest.mark.parametrize("steps", [1, 2, 3, 4])
    def test_a_kill_between_the_first_steps_does_no_harm(self, home: Path, steps: int) -> None:
        own = mongod.try_start(home)
        assert own is not None
        eventually(lambda: own.bring_up() or own._listened, 60)
        for _ in range(steps):
            own.bring_up()
        own.kill()

        with started(home):
            insert(home, {"_id": 1})
            assert customers(home) == [1]

    def test_a_terminal_s_ctrl_c_does_not_reach_it(self, home: Path) -> None:
        with started(home) as own:
            assert os.getpgid(own.pid) != os.getpgid(0)

    def test_leaves_no_core_dump_behind(self, home: Path) -> None:
        with started(home) as own:
            limits = Path(f"/proc/{own.pid}/limits").read_text().splitlines()

        core = next(line for line in limits if line.startswith("Max core file size"))
        assert set(core.split()[4:6]) <= {"0", "1"}


class TestOneServerPerDirectory:
    def test_a_second_start_gets_nothing_as_long_as_the_first_mongod_lives(self, home: Path) -> None:
        with started(home) as first:
            assert mongod.try_start(home) is None
            assert mongod.answers(home)
            os.kill(first.pid, signal.SIGSTOP)
            assert mongod.try_start(home) is None
            first.kill()

            # The first owner is still alive: it was the mongod that held the lock.
            with started(home):
                assert mongods_of(home) != []

    def test_kill_9_of_its_owner_ends_it_and_frees_the_directory(self, home: Path) -> None:
        script = (
            "import sys, time; from pathlib import Path; from procs import mongod\n"
            "own = mongod.try_start(Path(sys.argv[1]))\n"
            "while not own.bring_up(): time.sleep(0.02)\n"
            "print(own.pid, flush=True); time.sleep(600)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script, home], stdout=subprocess.PIPE) as owner:
            assert owner.stdout is not None
            pid = int(owner.stdout.readline())
            insert(home, {"_id": 1})
            assert mongods_of(home) == [pid]

            owner.kill()

        eventually(lambda: not mongods_of(home), message="mongod gone")
        with started(home):
            assert customers(home) == [1]

    def test_kill_9_of_its_owner_ends_a_stopped_one_too(self, home: Path) -> None:
        script = (
            "import sys, time; from pathlib import Path; from procs import mongod\n"
            "print(mongod.try_start(Path(sys.argv[1])).pid, flush=True); time.sleep(600)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script, home], stdout=subprocess.PIPE) as owner:
            assert owner.stdout is not None
            pid = int(owner.stdout.readline())
            eventually(
                lambda: Path(f"/proc/{pid}/exe").readlink().name == "mongod", message="mongod executed"
            )
            os.kill(pid, signal.SIGSTOP)

            owner.kill()

        eventually(lambda: not mongods_of(home), message="mongod gone")

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
    def test_root_does_not_start_the_server_of_another_user(self, home: Path) -> None:
        with started(home):
            pass
        os.chown(home, 65_534, 65_534)
        before = {path.name: path.stat().st_mtime_ns for path in home.iterdir()}

        with pytest.raises(PermanentError, match="belongs to another user"):
            mongod.try_start(home)

        assert {path.name: path.stat().st_mtime_ns for path in home.iterdir()} == before

    def test_a_command_uses_the_running_server_and_leaves_it_running(self, home: Path) -> None:
        with started(home) as own:
            with mongod.running(home) as uri, Client(uri, timeoutMS=10_000) as client:
                client.shop.customers.insert_one({"_id": 1})

            assert mongods_of(home) == [own.pid]
            assert customers(home) == [1]

    def test_a_command_starts_a_server_for_the_duration_when_there_is_none(self, home: Path) -> None:
        with mongod.running(home) as uri, Client(uri, timeoutMS=10_000) as client:
            client.shop.customers.insert_one({"_id": 1})
            assert len(mongods_of(home)) == 1

        assert mongods_of(home) == []


class TestPort:
    def test_a_taken_port_is_named_with_the_file_that_holds_it(self, home: Path) -> None:
        found = open_home(home)
        with socket.create_server(("127.0.0.1", found.port)):
            error = failure(mongod.try_start(home))

        assert isinstance(error, PermanentError)
        assert f"port {found.port} " in str(error)
        assert str(found.port_file) in str(error)

    def test_another_mongod_on_the_port_is_left_alone(self, home: Path, tmp_path: Path) -> None:
        port = open_home(home).port
        with MongodProcess(tmp_path / "other", "--replSet=rs", replica_set=None, port=port):
            error = failure(mongod.try_start(home))

            assert f"port {port} " in str(error)
            assert "setName" not in hello(port, 5)

    def test_without_the_port_file_the_data_move_to_another_port(self, home: Path) -> None:
        with started(home) as own:
            insert(home, {"_id": 1})
            former = own.home.port
        (home / "port").unlink()

        with started(home) as own:
            assert own.home.port != former
            assert customers(home) == [1]


class TestFind:
    def test_says_what_to_install_when_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mongod, "PACKAGE", "no-such-package")
        monkeypatch.setenv("PATH", "")

        with pytest.raises(PermanentError, match=r"pip install 'clientsync\[embedded\]'.*MONGO_URI"):
            mongod.find()

    @pytest.mark.parametrize(
        ("machine", "libc"), [("aarch64", ("glibc", "2.35")), ("x86_64", ("", "")), ("x86_64", ("musl", "1"))]
    )
    def test_takes_the_one_on_path_where_the_packaged_one_cannot_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, libc: tuple[str, str]
    ) -> None:
        own = tmp_path / "mongod"
        own.touch(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("platform.machine", lambda: machine)
        monkeypatch.setattr("platform.libc_ver", lambda: libc)

        assert mongod.find() == own


def test_the_log_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongod, "LOG_BYTES", 1000)
    with started(home) as own:
        first = own.home.log.read_text()

        own.bound_log()

        eventually(own.home.log.exists, message="a new log")
        assert own.home.old_log.read_text().startswith(first)
        assert mongod_setup.answers(own.home)
        assert sorted(path.name for path in home.glob("mongod.log*")) == ["mongod.log", "mongod.log.1"]
