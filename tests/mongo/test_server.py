"""The child that owns the embedded mongod, run as a process of its own with a control pipe."""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import pytest

from procs import mongod
from procs.messages import Beat, Failed, Stop
from procs.mongod_home import open_home
from tests.eventually import eventually
from tests.mongo.embedded import customers, insert
from tests.mongod_process import mongods_of

CHILD = """
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from procs import mongod, server
from procs.config import ServerConfig
from procs.errors import PermanentError, TemporaryError
from procs.lifeline import Lifeline

control, directory, server.HANG_S, mongod.STOP_S = sys.argv[1:]
server.HANG_S, mongod.STOP_S = float(server.HANG_S), float(mongod.STOP_S)
life = Lifeline(Connection(int(control)), ServerConfig(Path(directory)))
try:
    server.run(life)
except (PermanentError, TemporaryError) as error:
    life.failed(str(error), permanent=isinstance(error, PermanentError))
    sys.exit(1)
"""


class ServerChild:
    """What the supervisor would hold: the process and the other end of its control pipe."""

    def __init__(self, directory: Path, hang_s: float = 10, stop_s: float = 60) -> None:
        self.control: Connection[Any, Any]
        self.control, theirs = multiprocessing.Pipe()
        with theirs:
            command = [
                sys.executable,
                "-c",
                CHILD,
                str(theirs.fileno()),
                str(directory),
                str(hang_s),
                str(stop_s),
            ]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self.beats: list[Beat] = []
        self.failure: Failed | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.control.close()

    def listen(self) -> None:
        with contextlib.suppress(EOFError):
            while self.control.poll():
                message = self.control.recv()
                if isinstance(message, Failed):
                    self.failure = message
                else:
                    self.beats.append(message)

    def wait_for(self, phase: str) -> None:
        def ready() -> bool:
            self.listen()
            return bool(self.beats) and self.beats[-1].ready and self.beats[-1].phase == phase

        eventually(ready, 60, f"ready in phase {phase}")

    def stop(self) -> int:
        self.control.send(Stop())
        return self.exit_code()

    def exit_code(self) -> int:
        code = self.process.wait(60)
        self.listen()
        return code


@pytest.fixture
def child(home: Path) -> Iterator[ServerChild]:
    with ServerChild(home, hang_s=1, stop_s=1) as started:
        started.wait_for("running")
        yield started


def the_mongod(home: Path) -> int:
    (pid,) = mongods_of(home)
    return pid


class TestOwner:
    def test_is_ready_when_the_server_takes_writes(self, home: Path, child: ServerChild) -> None:
        insert(home, {"_id": 1})

        assert customers(home) == [1]
        assert child.beats[0].phase == "starting"
        assert not child.beats[0].ready

    def test_goes_on_beating(self, home: Path, child: ServerChild) -> None:
        seen = child.beats[-1].work

        def beaten() -> bool:
            child.listen()
            return child.beats[-1].work > seen

        eventually(beaten)

    def test_stops_mongod_cleanly_when_told_to(self, home: Path, child: ServerChild) -> None:
        assert child.stop() == 0

        assert mongods_of(home) == []
        assert '"exitCode":0' in (home / "mongod.log").read_text()

    def test_stops_while_mongod_is_still_starting(self, home: Path) -> None:
        with ServerChild(home) as child:
            eventually(lambda: mongods_of(home), message="mongod executed")

            assert child.stop() == 0

        assert mongods_of(home) == []
        assert not any(beat.ready for beat in child.beats)

    def test_stops_although_mongod_hangs(self, home: Path) -> None:
        with ServerChild(home, hang_s=60, stop_s=0.2) as child:
            child.wait_for("running")
            os.kill(the_mongod(home), signal.SIGSTOP)

            assert child.stop() == 0

        assert mongods_of(home) == []

    def test_fails_with_one_line_when_mongod_is_killed(self, home: Path, child: ServerChild) -> None:
        os.kill(the_mongod(home), signal.SIGKILL)

        assert child.exit_code() == 1
        line = f"the embedded MongoDB was killed by SIGKILL, see {home / 'mongod.log'}"
        assert child.failure == Failed(line, permanent=False)

    def test_kills_a_hanging_mongod_and_fails(self, home: Path, child: ServerChild) -> None:
        pid = the_mongod(home)
        os.kill(pid, signal.SIGSTOP)

        assert child.exit_code() == 1

        assert child.failure is not None
        assert not child.failure.permanent
        assert f"(pid {pid}) has not answered for" in child.failure.reason
        assert mongods_of(home) == []

    def test_beats_on_while_mongod_hangs(self, home: Path) -> None:
        with ServerChild(home, hang_s=60) as child:
            child.wait_for("running")
            os.kill(the_mongod(home), signal.SIGSTOP)
            seen = child.beats[-1].work

            def beaten() -> bool:
                child.listen()
                return child.beats[-1].work > seen + 5

            eventually(beaten, 30, "beats")

    def test_takes_mongod_along_when_it_is_killed(self, home: Path, child: ServerChild) -> None:
        child.process.kill()

        eventually(lambda: not mongods_of(home), message="mongod gone")

    def test_says_so_when_no_restart_can_help(self, home: Path) -> None:
        port = open_home(home).port
        with socket.create_server(("127.0.0.1", port)), ServerChild(home) as child:
            assert child.exit_code() == 1

        assert child.failure is not None
        assert child.failure.permanent
        assert f"port {port} " in child.failure.reason


class TestStandingBy:
    def test_shares_the_server_of_another_owner(self, home: Path, child: ServerChild) -> None:
        pid = the_mongod(home)
        with ServerChild(home) as second:
            second.wait_for("shared")
            assert mongods_of(home) == [pid]

            assert second.stop() == 0

        assert mongods_of(home) == [pid]

    def test_takes_over_from_an_owner_that_stops(self, home: Path, child: ServerChild) -> None:
        insert(home, {"_id": 1})
        with ServerChild(home) as second:
            second.wait_for("shared")

            assert child.stop() == 0

            second.wait_for("running")
            assert customers(home) == [1]
            assert second.stop() == 0

    def test_takes_over_from_an_owner_that_is_killed(self, home: Path, child: ServerChild) -> None:
        insert(home, {"_id": 1})
        with ServerChild(home) as second:
            second.wait_for("shared")

            child.process.kill()

            second.wait_for("running")
            assert customers(home) == [1]

    def test_is_not_ready_before_the_server_takes_logins(self, home: Path) -> None:
        own = mongod.try_start(home)
        assert own is not None
        try:
            with ServerChild(home) as second:

                def several_beats() -> bool:
                    second.listen()
                    return len(second.beats) > 2

                eventually(several_beats, message="beats")
                assert not second.beats[-1].ready
                eventually(own.bring_up, 60)

                second.wait_for("shared")
        finally:
            own.kill()
