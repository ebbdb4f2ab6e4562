"""What the command line tells about itself: help, hints after a mistake, completion in a shell."""

import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor import exit_codes
from supervisor.settings import SETTINGS
from tests.system.command_line import CommandLine
from tests.system.terminal import Terminal

SETUP = 'eval "$(_CLIENTSYNC_SUPERVISOR_COMPLETE=bash_source clientsync-supervisor)"'
ASK = f"""
{SETUP}
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/') "$1"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def installed(command: CommandLine) -> CommandLine:
    """Settings under which a shell finds the command by its name."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return command.having(PATH=path, PS1="ready> ", COLUMNS="80")


@pytest.fixture
def bash(installed: CommandLine) -> CommandLine:
    return replace(installed, command=("bash", "--noprofile", "--norc"))


def test_help_tells_every_setting_with_its_default_and_a_meaning(command: CommandLine) -> None:
    told = command("--help")

    assert (told.code, told.err) == (0, "")
    for setting in SETTINGS:
        default = {str: setting.default, bool: str(setting.default).lower(), int: str(setting.default)}.get(
            type(setting.default), ""
        )
        assert re.search(rf"^  {setting.name}={default}\S*\s+\S.*$", told.out, re.MULTILINE), setting.name


def test_help_tells_every_exit_code_file_and_command(command: CommandLine) -> None:
    out = command("--help").out

    codes = {str(code) for name, code in vars(exit_codes).items() if name.isupper()}
    assert {*re.findall(r"^  (\d+)  ", out.partition("Exit codes:")[2], re.MULTILINE)} == codes
    assert [
        line for line in out.partition("Commands:")[2].partition("Settings")[0].splitlines() if "..." in line
    ] == []
    for word in ("NAME.lock", "NAME.sock", "NAME.deaths.jsonl", "NAME.CHILD.stacks", "mongod/", "TERM, INT"):
        assert word in out


def test_help_tells_how_each_shell_completes_in_one_line_to_copy(command: CommandLine) -> None:
    lines = {line.strip() for line in command("--help").out.splitlines()}

    assert {SETUP, SETUP.replace("bash", "zsh")} <= lines
    assert "_CLIENTSYNC_SUPERVISOR_COMPLETE=fish_source clientsync-supervisor | source" in lines


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["strat"], "no command 'strat'; did you mean start?"),
        (["verfy"], "no command 'verfy'; did you mean verify?"),
        (["xyzzy"], "no command 'xyzzy'; there are check, reload, start, status, stop, uri, verify"),
        (["start", "--ful"], "No such option '--ful'. Did you mean '--full'?"),
        (["--instnce", "x", "status"], "No such option '--instnce'. Did you mean '--instance'?"),
        (["start", "synk"], "'synk' is not one of 'app', 'sync'."),
        (["start", "app", "--full"], "--full is about the mirror: it does not go with app"),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_with_a_hint(
    command: CommandLine, arguments: list[str], hint: str
) -> None:
    refused = command(*arguments)

    assert (refused.code, refused.out) == (exit_codes.USAGE, "")
    assert refused.err.splitlines()[-1].endswith(hint)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["sta"], ["start", "status"]),
        (["start", ""], ["app", "sync"]),
        (["start", "--f"], ["--full"]),
        (["status", "--"], ["--json", "--watch", "--help"]),
        (["--env-file", "x", "ver"], ["verify"]),
    ],
)
def test_bash_completes_commands_parts_and_options(
    bash: CommandLine, words: list[str], completed: list[str]
) -> None:
    asked = bash("-c", ASK, "bash", "clientsync-supervisor", *words)

    assert (asked.code, asked.err) == (0, "")
    assert asked.out.splitlines() == completed


def test_the_tab_key_completes_on_a_terminal(bash: CommandLine) -> None:
    with Terminal.showing(bash, "-i") as terminal:
        terminal.shows("ready> ")
        terminal.press(f"{SETUP}; echo is set up\n")
        terminal.shows(r"[\r\n]is set up")

        terminal.press("clientsync-supervisor --instance x verif\t--j\t")

        terminal.shows("verify --json")


@pytest.mark.parametrize(
    ("shell", "before", "asked", "told"),
    [
        (
            "zsh -f",
            "autoload -U compinit; compinit -u -D",
            "print $_comps[clientsync-supervisor]",
            "completion",
        ),
        ("fish --no-config", "", "complete -C 'clientsync-supervisor sta'", "start"),
    ],
)
def test_other_shells_take_their_completion(
    installed: CommandLine, shell: str, before: str, asked: str, told: str
) -> None:
    shell, *options = shell.split()
    script = replace(installed, command=("clientsync-supervisor",)).having(
        _CLIENTSYNC_SUPERVISOR_COMPLETE=f"{shell}_source"
    )()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is missing: apt-get install {shell}")

    checked = replace(installed, command=(shell,))(*options, "-c", f"{before}\n{script.out}\n{asked}")

    assert (script.code, checked.code, checked.err) == (0, 0, "")
    assert told in checked.out
