"""Reads a `.env` file strictly: what python-dotenv would warn about or skip is an error here."""

import io
import re
from pathlib import Path

from dotenv.parser import parse_stream

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_BYTES = 1_000_000
_NOT_A_SETTING = "not a NAME=value line"


class SettingsError(Exception):
    """The settings are wrong. Each of `problems` is one line for the operator, free of secrets."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read(path: Path, *, required: bool) -> dict[str, str]:
    """Return names and values of the `.env` file `path`; nothing is expanded, nothing enters os.environ.

    An absent file is empty unless `required`. Raises SettingsError with path and line number of every
    wrong line, never with what stands in it.
    """
    try:
        content = read_bytes(path)
    except FileNotFoundError as error:
        if required:
            raise SettingsError(
                f"--env-file {path}: {why_unreadable(error)}; name one that is there"
            ) from None
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: {why_unreadable(error)}") from None
    return _parse(path, _decode(path, content))


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, at once. Raises OSError."""
    if path.is_fifo():
        # A reload would wait for ever for somebody who writes into it.
        raise OSError(None, "is a pipe, but must be a file that a reload can read again")
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(None, f"has more than {MAX_BYTES // 1_000_000} MB: this must be the wrong file")
    return content


def why_unreadable(error: OSError) -> str:
    """Return the reason without the path: `Permission denied`."""
    return error.strerror or type(error).__name__


def _decode(path: Path, content: bytes) -> str:
    nul = content.find(b"\0")
    if nul >= 0:
        raise SettingsError(f"{path}:{_line_of(content, nul)}: a NUL byte; save the file as UTF-8 text")
    try:
        # The byte order mark that Windows editors put first is not part of the first name.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line_of(content, error.start)
        raise SettingsError(f"{path}:{line}: not UTF-8; save the file as UTF-8 text") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _line_of(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _parse(path: Path, text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems = []
    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        blank = len(original) - len(original.lstrip())
        line = binding.original.line + original.count("\n", 0, blank)
        name, value = binding.key, binding.value
        if binding.error:
            problems.append(f"{path}:{line}: {_NOT_A_SETTING}, or a quote that is not closed")
        elif name is None:
            continue
        elif value is None or not _NAME.fullmatch(name):
            # Not even what stands for the name is shown: it may be a piece of a secret.
            problems.append(f"{path}:{line}: {_NOT_A_SETTING}")
        elif name in values:
            problems.append(f"{path}:{line}: {name} is already set in line {lines[name]}; keep one of them")
        else:
            values[name], lines[name] = value, line
    if problems:
        raise SettingsError(*problems)
    return values
