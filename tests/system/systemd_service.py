"""clientsync.service in a machine: what an administrator does with it, and sees of it."""

import contextlib
import json
from pathlib import Path
from typing import Any

from tests.system.command_line import Ended
from tests.system.systemd_machine import ROOT, SystemdMachine

UNIT = "clientsync.service"
UNIT_FILE = ROOT / "systemd" / UNIT
EXTERNAL = ROOT / "systemd" / "external-mongodb.conf"
SETTINGS = "/etc/clientsync/clientsync.env"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
STATE, RUNTIME = "/var/lib/clientsync", "/run/clientsync"
IN_PLACE = (f"STATE_DIRECTORY={STATE}", f"RUNTIME_DIRECTORY={RUNTIME}")
COMMAND = ("env", *IN_PLACE, "/opt/clientsync/bin/clientsync-supervisor", "--env-file", SETTINGS)
SYNC = ("listener", "scanner", "writer")
CGROUP = f"/sys/fs/cgroup/system.slice/{UNIT}"

Record = dict[str, Any]


def commands_in_head(file: Path) -> list[str]:
    """Return the blocks of commands (indented) in the comment at the head of a unit file."""
    head, _, _ = file.read_text().partition("\n[")
    lines = [line.removeprefix("#") for line in head.splitlines()]
    blocks = "\n".join(line.removeprefix("   ") if line.startswith("   ") else "" for line in lines)
    return [block.strip("\n") for block in blocks.split("\n\n") if block.strip()]


class SystemdService:
    """The one service, stopped; what a test before has left of it is wiped."""

    def __init__(self, machine: SystemdMachine) -> None:
        self.machine = machine
        self("reset-failed")
        machine.run("rm", "-rf", DROP_INS, STATE, f"/var/lib/private/{Path(STATE).name}")
        machine.run("systemctl", "daemon-reload")
        self.configure()
        shown = machine.run("journalctl", "--show-cursor", "--lines=0").out
        self._journal_from = shown.partition("cursor: ")[2].strip()

    def __call__(self, verb: str, *options: str) -> Ended:
        """Run `systemctl VERB` on it."""
        return self.machine.run("systemctl", verb, *options, UNIT)

    def configure(self, **settings: str) -> None:
        """Write all its settings; inserts are mirrored sooner than usual, so that tests wait less."""
        lines = "".join(f"{name}={value}\n" for name, value in {"SYNC_FLUSH_MS": "100", **settings}.items())
        self.machine.path(SETTINGS).write_text(lines)

    def drop_in(self, *lines: str, name: str = "test") -> None:
        """Add to its unit file."""
        self.machine.run("mkdir", "-p", DROP_INS)
        self.machine.path(f"{DROP_INS}/{name}.conf").write_text("\n".join(("[Service]", *lines, "")))
        self.machine.run("systemctl", "daemon-reload")

    def started(self) -> "SystemdService":
        """Start it, which must succeed."""
        ended = self("start")
        assert ended.code == 0, (ended, self.told())
        return self

    def ask(self, *command: str) -> Ended:
        """Run one of our commands beside it, as root."""
        return self.machine.run(*COMMAND, *command)

    def status(self) -> dict[str, Any]:
        """Return what `status --json` says; empty while there is no daemon to ask."""
        out = self.ask("status", "--json").out
        return dict(json.loads(out)) if out else {}

    def pids(self) -> dict[str, int]:
        """Return the pids of its children, as they are inside."""
        return {child["name"]: child["pid"] for child in self.status()["children"]}

    def states(self) -> dict[str, str]:
        """Return the states of its children."""
        return {child["name"]: child["state"] for child in self.status()["children"]}

    def mirrored(self) -> int:
        """Return how many customers were mirrored since its start."""
        return int(self.status().get("sync", {}).get("mirrored_total", 0))

    def show(self, name: str) -> str:
        """Return one property, as `systemctl show` prints it."""
        return self("show", f"--property={name}", "--value").out.strip()

    def gave_up(self) -> bool:
        """Tell whether it failed with 78 and is not tried again."""
        names = ("ActiveState", "Result", "ExecMainStatus", "NRestarts")
        return [self.show(name) for name in names] == ["failed", "exit-code", "78", "0"]

    def processes(self) -> dict[int, str]:
        """Return pid (outside) and command line of each of its processes."""
        found = {}
        for number in self._numbers():
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{number}/cmdline").read_bytes()
                found[number] = title.replace(b"\0", b" ").decode().strip()
        return found

    def _numbers(self) -> list[int]:
        try:
            return [int(line) for line in self.machine.path(f"{CGROUP}/cgroup.procs").read_text().split()]
        except OSError:
            return []

    def process(self, child: str) -> int:
        """Return the pid (outside) of one of its children."""
        (pid,) = [pid for pid, title in self.processes().items() if title == f"clientsync: {child} (default)"]
        return pid

    def journal(self) -> list[Record]:
        """Return what the journal has about it since this test began."""
        self.machine.run("journalctl", "--sync")
        selection = (f"--unit={UNIT}", f"--after-cursor={self._journal_from}")
        lines = self.machine.run("journalctl", "--output=json", "--all", *selection).out.splitlines()
        return [json.loads(line) for line in lines]

    def told(self) -> list[str]:
        """Return the messages in the journal."""
        return [record["MESSAGE"] for record in self.journal()]

    def events(self, name: str) -> list[Record]:
        """Return the log lines of the daemon with this event."""
        lines = [json.loads(text) for text in self.told() if text.startswith("{")]
        return [line for line in lines if line["event"] == name]
