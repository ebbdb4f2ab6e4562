"""Where values come from: the process environment, the `.env` file, and files that hold a secret."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from environs import Env, EnvValidationError

from supervisor.env_file import read_bytes, why_unreadable
from supervisor.setting_kinds import Setting

SECRETS = ("MONGO_URI", "ANON_KEY")
"""Never shown; each may stand in the file that <name>_FILE names instead."""

NEVER_EMPTY = ("ANON_KEY", "ANON_KEY_FILE")
"""Other settings may be left empty for the default; an empty key would silently weaken every hash."""

OUR_PREFIXES = ("SYNC_", "FAKER_", "ANON_")
"""A name that begins so and is no setting is a typing error, wherever it stands."""

FILE_PREFIXES = (*OUR_PREFIXES, "MONGO_", "METRICS_", "READY_", "VERIFY_")
TYPING_ERROR = 0.85
"""Any name in the file that is so like a setting is one, too; the environment belongs to others as well."""

FOREIGN_PREFIX = "MONGO_INITDB_"
"""Names of MongoDB's container image: a `.env` is often shared with a compose file."""


SHOWN_MAX = 200
"""More of a wrong value is not shown: the line is to be read."""


def is_secret(name: str) -> bool:
    """Tell whether the value of the setting `name` must never be shown."""
    return name in SECRETS


class Sources:
    """The process environment `environ`, which wins, and `in_file`, read from `path`.

    `problems` collects a line for everything that is wrong.
    """

    def __init__(self, path: Path, in_file: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._path, self._in_file, self._environ = path, in_file, environ
        self._labels: dict[str, str] = {}

    def read(self, settings: Iterable[Setting]) -> dict[str, Any]:
        """Return the values of `settings` by name, without those that are wrong."""
        settings = tuple(settings)
        names = {setting.name for setting in settings} | {f"{name}_FILE" for name in SECRETS}
        self._refuse_unknown("the environment", self._environ, OUR_PREFIXES, names)
        self._refuse_unknown(str(self._path), self._in_file, FILE_PREFIXES, names)
        env = _GivenEnv(self._resolve_files(self._given(names)))
        values = {
            setting.name: getattr(env, setting.kind.parser)(
                setting.name, setting.default, **setting.kind.options
            )
            for setting in settings
        }
        try:
            env.seal()
        except EnvValidationError as error:
            for name, messages in cast("Mapping[str, list[str]]", error.error_messages).items():
                self.problems += [f"{self._labels[name]}: {message}" for message in messages]
                del values[name]
        return values

    def _refuse_unknown(
        self, where: str, source: Mapping[str, str], prefixes: tuple[str, ...], names: set[str]
    ) -> None:
        for name in sorted(source.keys() - names):
            if name.startswith(FOREIGN_PREFIX):
                continue
            mistyped = source is self._in_file and difflib.get_close_matches(name, names, 1, TYPING_ERROR)
            if mistyped or name.startswith(prefixes):
                close = difflib.get_close_matches(name, names, n=1)
                advice = f"did you mean {close[0]}?" if close else "remove it, or see .env.example"
                self.problems.append(f"{name} in {where}: no such setting; {advice}")

    def _given(self, names: set[str]) -> dict[str, str]:
        """Return what is given for `names`, as text, and note how to speak of each."""
        merged = {**self._in_file, **self._environ}
        given = {}
        for name in sorted(names & merged.keys()):
            value = merged[name]
            # A connection string in the wrong place is still a secret.
            hidden = is_secret(name) or "@" in value or "://" in value
            where = "the environment" if name in self._environ else self._path
            shown = value if len(value) <= SHOWN_MAX else f"{value[:SHOWN_MAX]}…"
            self._labels[name] = f"{name}{'' if hidden else f'={shown!r}'} in {where}"
            if not value.isprintable():
                self.problems.append(
                    f"{name} in {where}: a line break or another unprintable character (a quote not closed?)"
                )
            elif value:
                given[name] = value
            elif name in NEVER_EMPTY:
                self.problems.append(
                    f"{name} in {where}: is empty; give one, or remove it to go without a key"
                )
        return given

    def _resolve_files(self, given: dict[str, str]) -> dict[str, str | bytes]:
        """Return `given` with the secrets that stand in files; a key is bytes, wherever it comes from."""
        values: dict[str, str | bytes] = {**given}
        for name in SECRETS:
            file_name = f"{name}_FILE"
            if name in given and file_name in given:
                self.problems.append(f"{name} and {file_name} are both set; keep one of them")
            elif file_name in given:
                try:
                    values[name] = self._secret(name, Path(given[file_name]))
                except OSError as error:
                    self.problems.append(f"{self._labels[file_name]}: {why_unreadable(error)}")
                except ValueError as error:
                    self.problems.append(f"{self._labels[file_name]}: {error}")
                self._labels[name] = self._labels[file_name]
            elif name in given and name == "ANON_KEY":
                values[name] = given[name].encode()
        return values

    @staticmethod
    def _secret(name: str, path: Path) -> str | bytes:
        content = read_bytes(path)
        content = content.removesuffix(b"\n").removesuffix(b"\r")
        if not content:
            raise ValueError("the file is empty")
        if name == "ANON_KEY":
            return content
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ValueError("the file is not UTF-8 text") from None


class _GivenEnv(Env):
    """Collects errors until `seal`, and looks at nothing but the given values.

    Env and FileAwareEnv ask os.environ first, and let a <name>_FILE of the `.env` file win over a value of
    the process environment.
    """

    def __init__(self, given: Mapping[str, str | bytes]) -> None:
        super().__init__(eager=False)
        self._given = given

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._given.get(env_key, default)
