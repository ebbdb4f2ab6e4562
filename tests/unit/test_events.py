"""The log events: a stable name each, one level each, and docs/operations.md lists them all."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"
LEVELS = {"debug", "info", "warning", "error", "critical"}
NAME = re.compile(r"[a-z]+(_[a-z]+)*")
ROW = re.compile(r"\| `(?P<event>\w+)` \| (?P<level>[A-Z]+) \| (?P<means>[^|]+) \| (?P<to_do>[^|]+) \|")


class Call(NamedTuple):
    """A call, and the function around it."""

    node: ast.Call
    function: ast.AST
    where: str

    @property
    def name(self) -> str:
        function = self.node.func
        return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")

    @property
    def logs(self) -> bool:
        function = self.node.func
        return (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id in ("log", "logging")
            and function.attr in {*LEVELS, "log", "exception"}
        )

    def keyword(self, name: str) -> ast.expr | None:
        return next((each.value for each in self.node.keywords if each.arg == name), None)


class Origin(NamedTuple):
    """Where a name in a function comes from: an argument of `called`, at `place` and with this default."""

    called: str
    place: int
    name: str
    default: ast.expr | None = None


def calls_of(tree: ast.AST, where: str, function: ast.AST | None = None) -> Iterator[Call]:
    for node in ast.iter_child_nodes(tree):
        inside = node if isinstance(node, ast.FunctionDef) else function
        if isinstance(node, ast.Call):
            yield Call(node, inside or tree, f"{where}:{node.lineno}")
        yield from calls_of(node, where, inside)


CALLS = [
    call
    for package in ("procs", "supervisor")
    for path in sorted((ROOT / package).rglob("*.py"))
    for call in calls_of(ast.parse(path.read_text()), str(path.relative_to(ROOT)))
]


def event_of(call: Call) -> ast.expr | None:
    """Return what stands under "event" in the literal dictionary `extra`."""
    extra = call.keyword("extra")
    if not isinstance(extra, ast.Dict):
        return None
    pairs = zip(extra.keys, extra.values, strict=True)
    return next(
        (value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "event"), None
    )


def level_of(call: Call) -> ast.expr:
    if call.name == "log":
        return call.node.args[0]
    return ast.Attribute(ast.Name("logging"), "ERROR" if call.name == "exception" else call.name.upper())


def origin_of(name: str, function: ast.AST) -> Origin | None:
    """Tell where `name` comes from: a parameter, or what `case Class(…)` binds."""
    if isinstance(function, ast.FunctionDef):
        names = [each.arg for each in function.args.args if each.arg != "self"]
        defaults = [None] * (len(names) - len(function.args.defaults)) + function.args.defaults
        if name in names:
            return Origin(function.name, names.index(name), name, defaults[names.index(name)])
    for node in ast.walk(function):
        if isinstance(node, ast.MatchClass):
            bound = [each.name for each in node.patterns if isinstance(each, ast.MatchAs)]
            if name in bound:
                return Origin(ast.unparse(node.cls).rpartition(".")[2], bound.index(name), name)
    return None


def argument(call: Call, origin: Origin) -> ast.expr | None:
    if origin.place < len(call.node.args):
        return call.node.args[origin.place]
    return call.keyword(origin.name) or origin.default


def literals(event: ast.expr | None, level: ast.expr | None, call: Call) -> Iterator[tuple[str, str]]:
    """Yield event and level, followed to wherever they are written out."""
    origins = [
        origin_of(each.id, call.function) if isinstance(each, ast.Name) else None for each in (event, level)
    ]
    if (called := next((each.called for each in origins if each), None)) is None:
        assert isinstance(event, ast.Constant), f"{call.where}: its event is not written out"
        assert isinstance(level, ast.Attribute), f"{call.where}: its level is not written out"
        yield str(event.value), level.attr
        return
    for caller in [each for each in CALLS if each.name == called]:
        followed = [
            argument(caller, origin) if origin else told
            for origin, told in zip(origins, (event, level), strict=True)
        ]
        yield from literals(followed[0], followed[1], caller)


def in_code() -> dict[str, set[str]]:
    """Return the levels of each event."""
    levels = defaultdict(set)
    for call in CALLS:
        if call.logs:
            for event, level in literals(event_of(call), level_of(call), call):
                levels[event].add(level)
    return dict(levels)


def listed() -> dict[str, set[str]]:
    """Return the level of each event in the table; twice in it would be two levels of one name."""
    levels = defaultdict(set)
    for row in ROW.finditer(OPERATIONS.read_text()):
        assert row["event"] not in levels, f"{row['event']} is listed twice"
        levels[row["event"]].add(row["level"])
    return dict(levels)


def test_every_line_that_is_logged_has_an_event() -> None:
    logging = [call for call in CALLS if call.logs]

    without = [call.where for call in logging if event_of(call) is None]

    assert len(logging) > 30
    assert without == []


def test_an_event_has_one_level_and_a_name_in_words() -> None:
    events = in_code()

    assert {event: levels for event, levels in events.items() if len(levels) != 1} == {}
    assert [event for event in events if not NAME.fullmatch(event)] == []


def test_every_event_is_listed_in_the_operations_page_with_its_level() -> None:
    assert {event: level for event, level in in_code().items() if listed().get(event) != level} == {}


def test_every_event_that_is_listed_can_be_logged() -> None:
    assert sorted(listed().keys() - in_code().keys()) == []
