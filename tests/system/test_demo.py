"""`make demo`, a few seconds of it."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.eventually import eventually

ROOT = Path(__file__).parents[2]
ENDS_S = 60
PAGE = r"http://127\.0\.0\.1:\d+/"
IMAGE = re.compile(r"image  [0-9a-f]{8} [0-9a-f]{8} +[0-9a-f]{8}@example\.\w+ ")


class Demo:
    """The demo in a session of its own; its temporary files go into `place`."""

    def __init__(self, place: Path, seconds: float) -> None:
        self.place, self._output = place, place.with_suffix(".out")
        place.mkdir()
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo"],
                cwd=ROOT,
                env={**os.environ, "DEMO_S": str(seconds), "TMPDIR": str(place)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def told(self) -> str:
        """All that it has printed."""
        return self._output.read_text()

    def tells(self, pattern: str) -> str:
        """Wait until `pattern` was printed; return what matched."""

        def found() -> "re.Match[str] | None":
            match = re.search(pattern, self.told)
            assert match or self.process.poll() is None, self.told
            return match

        return str(eventually(found, ENDS_S, pattern)[0])

    def is_alone(self) -> bool:
        """Tell whether nothing works in `place` any more."""
        return not self.daemons()

    def daemons(self) -> list[int]:
        """Return the pids of the daemon and of all below it: whatever works in `place`."""
        found = []
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdigit() and (process / "cwd").readlink().is_relative_to(self.place):
                    found.append(int(process.name))
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[[float], Demo]]:
    """Start the demo: `demo(5)`; ended with all below it when the test ends."""
    started: list[Demo] = []

    def start(seconds: float) -> Demo:
        started.append(Demo(tmp_path / "demo", seconds))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()  # the daemon goes with it
        each.process.wait()
        eventually(each.is_alone, message="the daemon is gone")


def test_it_shows_customers_beside_images_kills_a_child_and_finds_the_mirror_right(
    demo: Callable[[float], Demo],
) -> None:
    playing = demo(5)

    page = urllib.request.urlopen(playing.tells(PAGE), timeout=10).read().decode()
    code = playing.process.wait(ENDS_S)

    assert code == 0, playing.told
    assert "<title>clientsync" in page
    assert IMAGE.search(playing.told), playing.told
    assert re.search(r"another writer is at work \d+\.\d\d s later", playing.told), playing.told
    assert "missing=0 stale=0 orphaned=0" in playing.told
    assert (playing.daemons(), list(playing.place.iterdir())) == ([], [])


def test_ctrl_c_ends_it_and_leaves_nothing_behind_however_impatient(demo: Callable[[float], Demo]) -> None:
    playing = demo(600)
    playing.tells("customers, ")

    os.killpg(playing.process.pid, signal.SIGINT)  # as a terminal does, to all in the foreground
    while playing.process.poll() is None:
        time.sleep(0.1)
        playing.process.terminate()

    assert playing.process.returncode == 0
    assert playing.told.endswith("nothing is left of it\n")
    assert "Traceback" not in playing.told
    assert (playing.daemons(), list(playing.place.iterdir())) == ([], [])


def test_killed_it_takes_its_daemon_along(demo: Callable[[float], Demo]) -> None:
    playing = demo(600)
    playing.tells("customers, ")
    assert len(playing.daemons()) > 4

    playing.process.kill()

    eventually(playing.is_alone)


@pytest.mark.parametrize("seconds", ["long", "nan", "inf", "-1", "0"])
def test_a_demo_without_an_end_is_refused(seconds: str) -> None:
    command, settings = [sys.executable, "-m", "demo"], {**os.environ, "DEMO_S": seconds}

    asked = subprocess.run(
        command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=ENDS_S, check=False
    )

    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr == "DEMO_S: must be a number of seconds, above 0\n"
