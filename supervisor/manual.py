"""What `--help` tells beyond the commands: settings, files, signals, exit codes, completion, examples."""

import re
from collections.abc import Iterator
from pathlib import Path

from click import HelpFormatter

HERE = Path(__file__).parent
EXAMPLE = ".env.example"
GROUP = re.compile(r"# --- (?P<title>.+) ---")
ROW = re.compile(r"(?:# )?(?P<setting>[A-Z_]+=.*)")

FILES = (
    (".env", "Settings, in the working directory; or --env-file PATH."),
    ("STATE_DIR", "~/.local/state/clientsync, or systemd's StateDirectory. In it, for the instance NAME:"),
    ("NAME.lock", "The pid of the daemon, which holds a lock on it."),
    ("NAME.sock", "Where commands reach it (in systemd's RuntimeDirectory, if there is one)."),
    ("NAME.deaths.jsonl", "How children ended that nobody had asked to."),
    ("NAME.CHILD.stacks", "What a child was doing when it hung or crashed."),
    ("mongod/", "The embedded MongoDB: data, log, secrets."),
)

SIGNALS = (
    ("TERM, INT", "Stop in order, within STOP_TIMEOUT_MS; a second INT kills at once (exit code 1)."),
    ("HUP", "Read the settings again, like reload."),
)

EXIT_CODES = (
    ("0", "Done, or stopped as asked; status: healthy; verify: clean."),
    ("1", "Failed; status: not healthy (yet); verify: something differs."),
    ("2", "A wrong command line."),
    ("3", "status, reload, stop: not running."),
    ("78", "Wrong settings, or something else that a restart cannot mend."),
)

COMPLETION = (
    ('eval "$(_CLIENTSYNC_SUPERVISOR_COMPLETE=bash_source clientsync-supervisor)"', "In ~/.bashrc."),
    (
        'eval "$(_CLIENTSYNC_SUPERVISOR_COMPLETE=zsh_source clientsync-supervisor)"',
        "In ~/.zshrc, below compinit.",
    ),
    ("_CLIENTSYNC_SUPERVISOR_COMPLETE=fish_source clientsync-supervisor | source", "In config.fish."),
)

EXAMPLES = (
    ("start", "Try it out: MongoDB, fake customers and the mirror. Ctrl-C stops it."),
    ("--env-file my.env check", "Would a start with these settings work?"),
    ("--env-file my.env start sync", "Mirror, and nothing else."),
    ("start --full", "Compare and repair everything, also beside a daemon."),
    ("status --watch", "See how it goes."),
    ("verify && echo right", "Is the mirror what it should be?"),
)


def write(formatter: HelpFormatter) -> None:
    """Write all sections."""
    sections = (
        *_settings(),
        ("Files", FILES),
        ("Signals", SIGNALS),
        ("Exit codes", EXIT_CODES),
        ("Completion", COMPLETION),
        ("Examples", tuple((f"clientsync-supervisor {command}", text) for command, text in EXAMPLES)),
    )
    for title, rows in sections:
        with formatter.section(title):
            formatter.write_dl(rows)


def _settings() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the groups of .env.example: title, then each setting with its default and what it means."""
    # Beside the package in a checkout, inside of it where it was installed.
    path = next(each for each in (HERE / EXAMPLE, HERE.parent / EXAMPLE) if each.exists())
    _, *parts = GROUP.split(path.read_text())
    for title, part in zip(parts[::2], parts[1::2], strict=True):
        rows, said = [], list[str]()
        for line in filter(None, part.splitlines()):
            if setting := ROW.fullmatch(line):
                rows.append((setting["setting"], " ".join(said)))
                said.clear()
            else:
                said.append(line.removeprefix("# "))
        yield f"Settings: {title}", rows
