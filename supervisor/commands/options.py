"""What every command is given, and how every command fails."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click

from supervisor import exit_codes
from supervisor.env_file import SettingsError, read_bytes
from supervisor.settings import Settings, load

DEFAULT_INSTANCE = "default"
PLACES = ("STATE_DIR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME", "HOME")


def fail(exit_code: int, *lines: str) -> NoReturn:
    """End the command with `exit_code` and these lines on stderr."""
    for line in lines:
        click.echo(line, err=True)
    raise click.exceptions.Exit(exit_code)


@dataclass(frozen=True)
class Options:
    """The global options; `instance` None means that none was named."""

    env_file: Path | None
    instance: str | None

    @property
    def _name(self) -> str:
        return DEFAULT_INSTANCE if self.instance is None else self.instance

    def settings(self, instance: str | None = None) -> Settings:
        """Return all settings. Raises SettingsError."""
        return load(self.env_file, os.environ, instance=instance or self._name)

    def settings_or_fail(self) -> Settings:
        """Return all settings, or end the command with a line for each that is wrong."""
        try:
            return self.settings()
        except SettingsError as error:
            fail(exit_codes.PERMANENT, *error.problems)

    def settings_to_find_daemon(self) -> tuple[Settings, str]:
        """Return settings that are right in their places at least: a typo must not keep from `stop`.

        And what is wrong with the settings, if anything: the places may then be other ones.
        """
        try:
            return self.settings(), ""
        except SettingsError as error:
            wrong = error.problems[0]
            places = _places_in(self.env_file or Path(".env")) | {
                name: os.environ[name] for name in PLACES if name in os.environ
            }
        try:
            return load(Path(os.devnull), places, instance=self._name), wrong
        except SettingsError as error:
            fail(exit_codes.PERMANENT, *error.problems)


def _places_in(env_file: Path) -> dict[str, str]:
    """Return STATE_DIR as it stands in a file that may be wrong otherwise."""
    with suppress(OSError):
        found = re.findall(rb"(?m)^STATE_DIR=[\"']?([^\"'\r\n#]+?)[\"']?[ \t]*\r?$", read_bytes(env_file))
        if found:
            return {"STATE_DIR": os.fsdecode(found[-1])}
    return {}


pass_options = click.make_pass_decorator(Options)
