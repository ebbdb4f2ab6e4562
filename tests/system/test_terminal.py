"""What people see on a terminal, and what Ctrl-C does."""

import os
import re
import signal

from pymongo.collection import Collection

from tests.eventually import eventually
from tests.system.command_line import CommandLine
from tests.system.daemon_process import processes_of
from tests.system.terminal import Terminal
from tests.system.twins import Customer, customer

Customers = Collection[Customer]
CTRL_C = "\x03"


def test_logs_are_lines_for_people_and_ctrl_c_stops_cleanly(connected: CommandLine) -> None:
    with Terminal.showing(connected, "start") as terminal:
        terminal.shows(r"generator is at work")
        terminal.shows(r"listener is at work")

        terminal.press(CTRL_C)

        assert terminal.ends() == 0
        lines = terminal.text.replace("^C", "").splitlines()
        assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} [A-Z]+ +[a-z]+ +\S", line) for line in lines if line)
        assert lines[-1].endswith("stopped  exit_code=0")
        assert processes_of(terminal.process.pid) == {}


def test_ctrl_c_with_the_embedded_mongodb_takes_everything_along(command: CommandLine) -> None:
    with Terminal.showing(command, "start") as terminal:
        terminal.shows(r"generator is at work")

        terminal.press(CTRL_C)

        assert terminal.ends() == 0
        assert "mongod is stopped" in terminal.text
        assert processes_of(terminal.process.pid) == {}


def test_a_second_ctrl_c_ends_at_once(connected: CommandLine) -> None:
    with Terminal.showing(connected.having(STOP_TIMEOUT_MS="3600000"), "start") as terminal:
        terminal.shows(r"generator is at work")
        for pid in processes_of(terminal.process.pid).keys() - {terminal.process.pid}:
            os.kill(pid, signal.SIGSTOP)

        terminal.press(CTRL_C)
        terminal.shows(r"stopping")
        terminal.press(CTRL_C)

        assert terminal.ends() == 1
        assert processes_of(terminal.process.pid) == {}


def test_dev_shows_debug_lines_with_their_events(connected: CommandLine) -> None:
    with Terminal.showing(connected, "start", "sync", "--dev") as terminal:
        terminal.shows(r"DEBUG .* sessions ended .*event=fence_raised")


def test_a_reindex_shows_a_bar_with_rate_and_time_left_then_the_summary(
    connected: CommandLine, source: Customers
) -> None:
    source.insert_many([customer(each) for each in range(5_000)])
    slow = connected.having(SYNC_BATCH_SIZE="5")

    with Terminal.showing(slow, "start", "--full") as terminal:
        terminal.shows(r"reindex .*\d+/5000 +\d+/s +\d+ s left")

        assert terminal.ends(60) == 0
        assert "scanned=5000 inserted=5000 replaced=0 deleted=0 unchanged=0 seconds=" in terminal.text


def test_ctrl_c_during_a_reindex_leaves_the_terminal_and_the_walk_in_order(
    connected: CommandLine, source: Customers
) -> None:
    source.insert_many([customer(each) for each in range(5_000)])
    slow = connected.having(SYNC_BATCH_SIZE="5")

    with Terminal.showing(slow, "start", "--full") as terminal:
        terminal.shows(r"reindex .*/5000")
        terminal.press(CTRL_C)
        code = terminal.ends()

    assert code == 0
    assert "scanned=" not in terminal.text
    show_cursor, hide_cursor = b"\x1b[?25h", b"\x1b[?25l"
    assert terminal.written.count(show_cursor) == terminal.written.count(hide_cursor) > 0
    states = source.database["clientsync_state"]
    assert eventually(lambda: states.find_one({"_id.kind": "walk"}))
