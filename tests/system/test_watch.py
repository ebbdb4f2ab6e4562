"""`status --watch`: on a terminal until Ctrl-C, into a pipe, and until the daemon is gone."""

import json
import os
import signal
import subprocess

from tests.eventually import eventually
from tests.system.conftest import SmallTree
from tests.system.terminal import Terminal


def test_it_shows_on_a_terminal_what_happens_and_ends_cleanly_with_ctrl_c(tree: SmallTree) -> None:
    with Terminal.showing(tree.cli, "status", "--watch") as terminal:
        terminal.shows("healthy")

        os.kill(tree.pids()["solo"], signal.SIGKILL)
        terminal.shows("SIGKILL .* ago")
        terminal.press("\x03")

        assert terminal.ends() == 0
        tree.cli.assert_fit_to_be_seen(terminal.text)


def test_it_says_so_and_ends_when_the_daemon_is_gone(tree: SmallTree) -> None:
    with Terminal.showing(tree.cli, "status", "--watch") as terminal:
        terminal.shows("healthy")

        tree.send(signal.SIGTERM)

        assert terminal.ends() == 3
        assert terminal.shows("instance 'default' is not running")


def test_it_prints_one_line_of_json_for_each_status_into_a_pipe(tree: SmallTree) -> None:
    with tree.cli.spawn("status", "--watch", "--json", stdout=subprocess.PIPE) as watching:
        assert watching.stdout
        first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
        watching.send_signal(signal.SIGINT)

    assert first["time"] < second["time"]
    assert first["pid"] == second["pid"] == tree.pid
    assert watching.returncode == 0


def test_without_a_daemon_it_ends_at_once_as_status_does(tree: SmallTree) -> None:
    assert tree.ask("stop").code == 0
    eventually(lambda: tree.process.poll() is not None)

    assert tree.ask("status", "--watch").code == 3
