"""One daemon per instance name, whatever state the files are in."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor import ownership
from supervisor.env_file import SettingsError
from supervisor.ownership import AlreadyRunning, acquire, acquire_first_free, owner

HOLD = """
import sys
from pathlib import Path
from supervisor.ownership import acquire
acquire(Path(sys.argv[1]), "default")
print("owned", flush=True)
sys.stdin.read()
"""


def test_a_second_daemon_is_refused_with_the_pid_of_the_first_and_a_hint(tmp_path: Path) -> None:
    acquire(tmp_path, "default")

    with pytest.raises(AlreadyRunning) as refused:
        acquire(tmp_path, "default")

    assert str(refused.value) == (
        f"instance 'default' is already running (pid {os.getpid()}); choose another name with --instance NAME"
    )


def test_other_names_of_the_same_directory_are_free(tmp_path: Path) -> None:
    acquire(tmp_path, "default")

    assert acquire(tmp_path, "other").instance == "other"


def test_the_name_is_free_as_soon_as_its_owner_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "owned\n"
    found = owner(tmp_path, "default")
    assert found is not None and found.pid == process.pid

    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert owner(tmp_path, "default") is None
    acquire(tmp_path, "default")
    assert (tmp_path / "default.lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("garbage", [b"", b"\xff\x00", b"-1", b"99999999999999999999", b"abc\n" * 1000])
def test_garbage_in_the_lock_file_does_not_matter(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "default.lock"
    path.write_bytes(garbage)

    owned = acquire(tmp_path, "default")
    assert path.read_text() == f"{os.getpid()}\n"

    path.write_bytes(garbage)
    with pytest.raises(AlreadyRunning, match=r"instance 'default' is already running; choose another"):
        acquire(tmp_path, "default")
    owned.release()


def test_a_look_at_the_owner_creates_nothing(tmp_path: Path) -> None:
    assert owner(tmp_path, "default") is None
    assert owner(tmp_path / "missing", "default") is None

    assert list(tmp_path.iterdir()) == []


def test_a_look_at_the_owner_does_not_refuse_a_daemon_that_starts_just_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = acquire(tmp_path, "default")
    # The look ends while the start waits for its next try.
    monkeypatch.setattr(ownership.time, "sleep", lambda _: looking.release())

    assert acquire(tmp_path, "default").instance == "default"


def test_a_reindex_takes_the_first_free_name(tmp_path: Path) -> None:
    first, second = acquire_first_free(tmp_path, "full"), acquire_first_free(tmp_path, "full")
    assert (first.instance, second.instance) == ("full", "full-2")

    first.release()

    assert acquire_first_free(tmp_path, "full").instance == "full"


def test_a_directory_in_place_of_the_lock_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "default.lock").mkdir()

    with pytest.raises(SettingsError) as refused:
        acquire(tmp_path, "default")

    assert str(refused.value) == (
        f"STATE_DIR {tmp_path} cannot be used: Is a directory ({tmp_path}/default.lock); "
        "set it to a directory of your own, with space left"
    )


def test_a_file_in_place_of_the_state_directory_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    with pytest.raises(SettingsError, match=f"^STATE_DIR {tmp_path}/state cannot be used: [^\n]+$"):
        acquire(tmp_path / "state", "default")


def test_a_full_disk_is_one_line_that_names_the_state_directory(tmp_path: Path) -> None:
    (tmp_path / "default.lock").symlink_to("/dev/full")

    with pytest.raises(SettingsError, match=f"^STATE_DIR {tmp_path} cannot be used: No space left on device"):
        acquire(tmp_path, "default")


def test_the_state_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    acquire(tmp_path / "a" / "b", "default")

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / "default.lock").stat().st_mode & 0o777 == 0o600
