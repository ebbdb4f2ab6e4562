"""What holds in any order of events, at any times: a world of processes that obeys and surprises."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.decide import decide, next_deadline
from supervisor.state import (
    Dump,
    Event,
    Exit,
    Exited,
    Failed,
    Finished,
    Heard,
    Kill,
    Limits,
    Reloaded,
    SendStop,
    Start,
    StartGroup,
    State,
    StopAsked,
    StopAtOnce,
    Tick,
    initial,
)
from supervisor.tree import Child, Mode

LIMITS = Limits(
    stop_s=4, server_stop_s=1, hang_s=3, start_s=6, healthy_s=5, intensity=4, window_s=20, backoff_cap_s=8
)
NAMES = ("server", "generator", "listener", "scanner", "writer")
GROUPS = {"server": "server", "generator": "generator"} | dict.fromkeys(NAMES[2:], "sync")
STAGES = {"server": 3, "generator": 1, "listener": 1, "scanner": 2, "writer": 2}
ROWS = [
    Child(name, print, frozenset(Mode), GROUPS[name], STAGES[name], name, name == "server") for name in NAMES
]


@dataclass
class World:
    """The processes behind one supervisor. Killed ones die a little later; asked ones leave, unless stuck."""

    state: State
    now: float = 0.0
    live: dict[str, int] = field(default_factory=dict)
    """Name -> generation of its group."""
    stuck: set[str] = field(default_factory=set)
    killed: set[str] = field(default_factory=set)
    generations: dict[str, int] = field(default_factory=dict)
    starts: list[tuple[float, str]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    exit: Exit | None = None
    stop_asked: bool = False
    server_was_ready: bool = False
    own_faults: int = 0
    """Deaths that no other death and no order explains, and hangs."""

    def feed(self, *events: Event) -> None:
        queue = deque(events)
        while queue:
            event = queue.popleft()
            self.server_was_ready |= isinstance(event, Heard) and event.child == "server" and event.ready
            self.state, actions = decide(self.state, event, self.now)
            for action in actions:
                assert self.exit is None, f"{action} after the exit"
                match action:
                    case StartGroup(group):
                        self.start(group)
                    case Kill(name) if name in self.live:
                        self.killed.add(name)
                    case Dump():
                        self.own_faults += 1
                    case SendStop(name) if name in self.live:
                        self.asked.add(name)
                        if name not in self.stuck:
                            queue.append(self.death(name, "exit code 0", 0))
                    case Exit():
                        assert not self.live
                        self.exit = action

    def start(self, group: str) -> None:
        assert not self.stop_asked, "started after a stop"
        server = self.state.children["server"]
        assert group == "server" or self.server_was_ready or not server.wanted, (
            "started before the server was ready"
        )
        members = [name for name in NAMES if GROUPS[name] == group]
        assert not [name for name in members if name in self.live], "two live processes of one child"
        self.generations[group] = self.generations.get(group, 0) + 1
        self.starts.append((self.now, group))
        for name in members:
            self.live[name] = self.generations[group]
            self.stuck.discard(name)
            self.asked.discard(name)

    def death(self, name: str, cause: str, code: int) -> Exited:
        del self.live[name]
        self.killed.discard(name)
        return Exited(name, cause, code, jitter=0.5)

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass as the loop would: children that are well beat, deadlines become Ticks."""
        until = self.now + seconds
        for _ in range(2000):
            wake = min(next_deadline(self.state), until)
            assert wake == until or wake > self.now, "a deadline in the past: the loop would spin"
            self.now = wake
            self.feed(
                *(Heard(name, "live", ready=True) for name in list(self.live) if name not in self.stuck)
            )
            self.feed(Tick())
            self.reap()
            if self.now >= until:
                return
        raise AssertionError("woke 2000 times")

    def reap(self) -> None:
        """What was killed is gone now."""
        while self.killed:
            self.feed(self.death(min(self.killed), "SIGKILL", -9))

    def check(self) -> None:
        generations = {self.live[name] for name in self.live if GROUPS[name] == "sync"}
        assert len(generations) <= 1, "the sync group is of two generations"
        assert {name for name, child in self.state.children.items() if child.alive} == set(self.live)
        counted = sum(child.restarts for child in self.state.children.values())
        assert counted <= self.own_faults, "a collateral or planned death was counted"


names = st.sampled_from(NAMES)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0.001, 12, allow_nan=False)),
        st.tuples(st.just("die"), names),
        st.tuples(st.just("leave"), names),
        st.tuples(st.just("hang"), names),
        st.tuples(st.just("fail"), names),
        st.tuples(st.just("reload"), st.sets(st.sampled_from(sorted(set(GROUPS.values()))))),
        st.tuples(st.just("server"), st.booleans()),
    ),
    max_size=40,
)


def play(world: World, step: tuple[str, object]) -> None:
    match step:
        case ("wait", float(seconds)):
            world.pass_time(seconds)
        case ("die", str(name)) if name in world.live:
            world.own_faults += 1
            world.feed(world.death(name, "SIGSEGV", -11))
        case ("leave", str(name)) if name in world.live:
            world.own_faults += 1
            world.feed(world.death(name, "exit code 0", 0))
        case ("hang", str(name)) if name in world.live:
            world.stuck.add(name)
        case ("fail", str(name)) if name in world.live:
            world.own_faults += 1
            world.feed(Failed(name, "boom", permanent=False), world.death(name, "exit code 1", 1))
        case ("reload", set(groups)):
            unwanted = frozenset(name for name in NAMES if not world.state.children[name].wanted)
            world.feed(Reloaded(LIMITS, frozenset(NAMES), frozenset(map(str, groups)), unwanted))
        case ("server", bool(embedded)):
            go_over(world, embedded=embedded)


def go_over(world: World, *, embedded: bool) -> None:
    """A reload after which there is a server child, or none."""
    if embedded and not world.state.children["server"].wanted:
        world.server_was_ready = False
    unwanted = frozenset[str]() if embedded else frozenset({"server"})
    restart = frozenset(GROUPS.values())
    world.feed(Reloaded(LIMITS, restart=restart, unwanted=unwanted))


def begun() -> World:
    world = World(initial(ROWS, LIMITS))
    world.feed(Start())
    return world


@settings(max_examples=200, deadline=None)
@given(steps)
def test_left_in_peace_everything_runs_again(story: list[tuple[str, object]]) -> None:
    world = begun()

    for step in story:
        play(world, step)
        world.check()
    world.pass_time(60)

    wanted = {name for name, child in world.state.children.items() if child.wanted}
    assert set(world.live) == wanted >= set(NAMES) - {"server"}
    assert world.exit is None
    assert all(child.ready == child.wanted for child in world.state.children.values())
    assert not any(group.degraded for group in world.state.groups.values())


@settings(max_examples=200, deadline=None)
@given(steps, steps)
def test_a_stop_at_any_time_ends_everything_in_time_and_nothing_starts_again(
    before: list[tuple[str, object]], after: list[tuple[str, object]]
) -> None:
    world = begun()
    for step in before:
        play(world, step)

    world.feed(StopAsked())
    world.stop_asked = True
    asked_at = world.now
    for step in after:
        play(world, step)
        world.check()
    world.pass_time(max(0.0, asked_at + LIMITS.stop_s - world.now))

    assert world.live == {}
    assert world.exit == Exit(0, "")


@settings(max_examples=100, deadline=None)
@given(steps, names)
def test_a_permanent_error_at_any_time_ends_with_78(story: list[tuple[str, object]], name: str) -> None:
    world = begun()
    for step in story:
        play(world, step)
    go_over(world, embedded=True)
    world.pass_time(60)

    world.feed(Failed(name, "no rights", permanent=True), world.death(name, "exit code 78", 78))
    world.stop_asked = True
    world.pass_time(LIMITS.stop_s)

    assert world.live == {}
    assert world.exit == Exit(78, f"{name}: no rights")


@settings(max_examples=100, deadline=None)
@given(steps)
def test_the_second_interrupt_ends_with_1_at_once(story: list[tuple[str, object]]) -> None:
    world = begun()
    for step in story:
        play(world, step)

    world.stop_asked = True
    world.stuck |= set(world.live)
    world.feed(StopAsked())
    world.feed(StopAtOnce())
    world.reap()

    assert world.live == {}
    assert world.exit is not None and world.exit.code in {0, 1}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.01, 2.0, 5.1]), min_size=20, max_size=40), names)
def test_starts_stay_within_the_intensity_however_fast_a_child_dies(lives: list[float], name: str) -> None:
    world = begun()
    world.pass_time(1)
    world.starts.clear()

    for life in lives:
        while name not in world.live:
            world.pass_time(next_deadline(world.state) - world.now)
        world.pass_time(life)
        play(world, ("die", name))

    times = [at for at, group in world.starts if group == GROUPS[name]]
    # Degraded, it is tried at most every half cap (the jitter takes the other half).
    most = LIMITS.intensity + LIMITS.window_s / (LIMITS.backoff_cap_s / 2) + 1
    assert all(len([at for at in times if begin <= at < begin + LIMITS.window_s]) <= most for begin in times)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_a_finished_task_at_any_time_ends_with_0(story: list[tuple[str, object]]) -> None:
    world = begun()
    for step in story:
        play(world, step)
    world.pass_time(60)

    world.feed(Finished("generator"))
    world.stop_asked = True
    world.pass_time(LIMITS.stop_s)

    assert world.exit == Exit(0, "")
