"""The restart policy: what to start, stop, kill and restart, and when.

`decide` is a pure function of state, event and clock: the same events at the same times lead to the same
actions, so every decision can be replayed. `supervisor.daemon` carries the actions out.

- A group starts as a whole, once nothing of it is alive any more. What goes `first` must have been ready.
- A child that ends unasked takes its group with it; the group starts again after a pause that doubles
  each time and is short again once the group has been healthy for a while.
- Too many such exits within the window make the group degraded: tried slowly, never given up (a reindex
  gives up). A permanent error stops the daemon.
- A silent child is asked for its stacks, then killed; the rest is as for any other exit.
- A stop goes stage by stage, ends with SIGKILL at its deadline, and is never taken back.
"""

import logging
from collections.abc import Iterable

from supervisor import exit_codes
from supervisor.state import (
    Action,
    Announce,
    ChildState,
    Dump,
    Event,
    Exit,
    Exited,
    Failed,
    Finished,
    GroupState,
    Heard,
    Kill,
    Limits,
    Reloaded,
    Report,
    SendConfig,
    SendStop,
    Start,
    StartGroup,
    State,
    StopAsked,
    StopAtOnce,
    Stopping,
    Tick,
)


def decide(state: State, event: Event, now: float) -> tuple[State, list[Action]]:
    """Return the state after `event` at the time `now`, and what is to be done, in this order."""
    turn = _Turn(state.copy(), now)
    turn.take(event)
    return turn.state, turn.actions


def next_deadline(state: State) -> float:
    """Return when a Tick is due even if nothing happens. After a Tick that is always in the future."""
    deadlines = [state.now + state.limits.pause_s]
    alive = [child for child in state.children.values() if child.alive]
    if state.stop is not None:
        return min(
            deadlines + [kill_at(child, alive, state.stop.by, state.limits) for child in to_kill(alive)]
        )
    for child in alive:
        if child.dumped_at is not None and not child.killed:
            deadlines.append(child.dumped_at + state.limits.dump_s)
        elif not child.ending and not child.killed:
            deadlines.append(silent_at(child, state.limits))
    restarting, by = to_restart(state)
    deadlines += [kill_at(child, restarting, by, state.limits) for child in to_kill(restarting)]
    for group in state.groups.values():
        members = [child for child in alive if child.group == group.name]
        if group.due_at is not None and not members and may_start(state, group):
            deadlines.append(group.due_at)
        if group.up_since is not None and group.failures:
            deadlines.append(group.up_since + state.limits.healthy_s)
    return min(deadlines)


def pause_before_restart(limits: Limits, group: GroupState, jitter: float) -> float:
    """Return how long a group that just failed stays down; `jitter` (0..1) spreads the upper half."""
    doubled = limits.backoff_first_s * 2.0 ** min(group.failures - 1, 30)
    longest = limits.backoff_cap_s if group.degraded else min(doubled, limits.backoff_cap_s)
    return longest * (0.5 + jitter / 2)


def silent_at(child: ChildState, limits: Limits) -> float:
    """Return when a child that says nothing more counts as hung."""
    usual = limits.hang_s if child.ready else limits.start_s
    return child.heard_at + (usual if child.allowed_silence_s is None else child.allowed_silence_s)


def kill_at(child: ChildState, alive: Iterable[ChildState], by: float, limits: Limits) -> float:
    """Return when a stop that ends at `by` loses patience with `child`."""
    kept_for_last = any(other.first for other in alive) and not child.first
    return by - min(limits.server_stop_s, limits.stop_s / 2) if kept_for_last else by


def to_kill(alive: Iterable[ChildState]) -> list[ChildState]:
    """Return the children that SIGKILL was not sent to yet."""
    return [child for child in alive if not child.killed]


def to_restart(state: State) -> tuple[list[ChildState], float]:
    """Return the live children of the groups that were asked to restart, and until when they may take."""
    groups = {group.name: group.stop_by for group in state.groups.values() if group.stop_by is not None}
    children = [child for child in state.children.values() if child.alive and child.group in groups]
    return children, min(groups.values(), default=state.now)


def may_start(state: State, group: GroupState) -> bool:
    """Tell whether the child that goes first has been ready, or is in this group."""
    return state.opened or any(child.first for child in state.of_group(group.name))


class _Turn:
    """One decision, on a copy of the state."""

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        self.actions: list[Action] = []
        gap = now - state.now - state.limits.pause_s
        if gap > state.limits.pause_s:
            # We were stopped ourselves (Ctrl-Z): the children's silence meanwhile proves nothing.
            for child in state.children.values():
                child.heard_at += gap
        state.now = now

    def take(self, event: Event) -> None:
        match event:
            case Start():
                for group in self.state.groups.values():
                    group.due_at = self.now if self.is_wanted(group) else None
            case Tick():
                self.watch_silence()
            case Heard():
                self.hear(event)
            case Failed(name, reason, permanent):
                self.state.children[name].reason = reason
                if permanent:
                    self.begin_stop(exit_codes.PERMANENT, f"{name}: {reason}")
            case Finished():
                self.begin_stop(exit_codes.DONE, "")
            case Exited():
                self.bury(event)
            case StopAsked():
                self.begin_stop(exit_codes.DONE, "")
            case StopAtOnce():
                self.state.stop = Stopping(self.now, exit_codes.FAILED, "")
            case Reloaded():
                self.reload(event)
        self.carry_on()

    def carry_on(self) -> None:
        """Do what has become possible or due."""
        if self.state.stop is None:
            self.restart_as_asked()
            for group in self.state.groups.values():
                self.start_if_due(group)
                self.forget_failures(group)
        else:
            self.drain(self.state.children.values(), self.state.stop.by)
            if not self.state.gone and not any(child.alive for child in self.state.children.values()):
                self.state.gone = True
                self.actions.append(Exit(self.state.stop.code, self.state.stop.line))

    # Starting
    def start_if_due(self, group: GroupState) -> None:
        members = self.state.of_group(group.name)
        if group.due_at is None or group.due_at > self.now or any(child.alive for child in members):
            return
        if not may_start(self.state, group):
            return
        group.due_at = None
        for child in members:
            child.alive, child.ready, child.ending, child.killed = True, False, False, False
            child.phase, child.reason = "starting", ""
            child.started_at = child.heard_at = self.now
            child.allowed_silence_s = child.dumped_at = None
        self.actions.append(StartGroup(group.name))

    def hear(self, beat: Heard) -> None:
        child = self.state.children[beat.child]
        child.heard_at, child.phase, child.ready = self.now, beat.phase, beat.ready
        child.allowed_silence_s = beat.allowed_silence_s
        if not child.killed:
            child.dumped_at = None
        group = self.state.groups[child.group]
        if group.up_since is None and all(
            each.alive and each.ready for each in self.state.of_group(group.name)
        ):
            group.up_since = self.now
        here_to_stay = (
            each.ready and not each.ending and self.state.groups[each.group].stop_by is None
            for each in self.first_children()
        )
        self.state.opened = self.state.opened or all(here_to_stay)

    # Ending unasked
    def watch_silence(self) -> None:
        for child in self.state.children.values():
            if not child.alive or child.ending or child.killed:
                continue
            if child.dumped_at is None and self.now >= silent_at(child, self.state.limits):
                child.dumped_at = self.now
                self.actions.append(Dump(child.name))
            elif child.dumped_at is not None and self.now >= child.dumped_at + self.state.limits.dump_s:
                self.kill(child)

    def bury(self, exited: Exited) -> None:
        child = self.state.children[exited.child]
        group = self.state.groups[child.group]
        asked = self.state.stop is not None or group.stop_by is not None
        unplanned = not child.ending and not asked
        quiet = child.ending or exited.code == exit_codes.DONE
        own_fault = unplanned or bool(child.reason) or not quiet
        why = child.reason
        if child.dumped_at is not None:
            why = f"silent for {self.now - child.heard_at:.1f} s"
        child.alive = child.ready = False
        child.phase = ""
        group.up_since = None
        if unplanned and exited.code == exit_codes.PERMANENT:
            self.begin_stop(exit_codes.PERMANENT, f"{child.name}: ended by {exited.cause}")
        elif unplanned:
            child.reason = why or f"ended by {exited.cause}"
            self.fail(child, group, exited, why)
        again_in = None if group.due_at is None or self.state.stop else max(0.0, group.due_at - self.now)
        self.actions.append(Report(child.name, own_fault, why, again_in))

    def fail(self, child: ChildState, group: GroupState, exited: Exited, why: str) -> None:
        """One of a group ended unasked: end the others, start all again after a pause."""
        for mate in self.state.of_group(group.name):
            if mate.alive:
                self.kill(mate)
                mate.ending = True
        limits = self.state.limits
        group.exits = (*(at for at in group.exits if at > self.now - limits.window_s), self.now)
        group.failures += 1
        child.restarts += 1
        if len(group.exits) >= limits.intensity:
            often = f"{group.name}: {len(group.exits)} unplanned exits within {limits.window_s:.0f} s"
            last = f"the last of {child.name} by {exited.cause}{f': {why}' if why else ''}"
            if self.state.one_shot:
                self.begin_stop(exit_codes.FAILED, f"{often}, giving up; {last}")
            elif not group.degraded:
                group.degraded = True
                text = f"{often}: degraded, tried again every {limits.backoff_cap_s:.0f} s at most; {last}"
                self.actions.append(Announce(logging.ERROR, "group_degraded", text))
        group.due_at = self.now + pause_before_restart(limits, group, exited.jitter)

    def forget_failures(self, group: GroupState) -> None:
        healthy_at = None if group.up_since is None else group.up_since + self.state.limits.healthy_s
        if not group.failures or healthy_at is None or healthy_at > self.now:
            return
        group.failures = 0
        if group.degraded:
            group.degraded = False
            text = f"{group.name}: at work for {self.state.limits.healthy_s:.0f} s, no longer degraded"
            self.actions.append(Announce(logging.INFO, "group_recovered", text))

    # Ending as asked
    def begin_stop(self, code: int, line: str) -> None:
        if self.state.stop is None:
            self.state.stop = Stopping(self.now + self.state.limits.stop_s, code, line)

    def reload(self, reloaded: Reloaded) -> None:
        if self.state.stop is not None:
            return
        if reloaded.limits.hang_s < self.state.limits.hang_s:
            for child in self.state.children.values():
                child.heard_at = self.now  # until now it was free to say nothing for longer
        self.state.limits = reloaded.limits
        first_before = self.first_children()
        for name, child in self.state.children.items():
            child.wanted = name not in reloaded.unwanted
            if (
                name in reloaded.live
                and child.alive
                and not child.ending
                and child.group not in reloaded.restart
            ):
                self.actions.append(SendConfig(name))
        if self.first_children() != first_before:
            # A server that comes must be ready before the others go over to it.
            self.state.opened = not self.first_children()
        for group in self.state.groups.values():
            if group.name in reloaded.restart or not self.is_wanted(group):
                self.ask_for_restart(group)

    def ask_for_restart(self, group: GroupState) -> None:
        group.failures, group.degraded = 0, False
        if group.due_at is None and any(child.alive for child in self.state.of_group(group.name)):
            group.stop_by = group.stop_by or self.now + self.state.limits.stop_s
        else:
            group.due_at = self.now if self.is_wanted(group) else None

    def restart_as_asked(self) -> None:
        """Drain the groups that were asked to restart, all by stages; each starts again when it is gone."""
        self.drain(*to_restart(self.state))
        for group in self.state.groups.values():
            alive = any(child.alive for child in self.state.of_group(group.name))
            if group.stop_by is not None and not alive:
                group.stop_by = None
                group.due_at = self.now if self.is_wanted(group) else None

    def is_wanted(self, group: GroupState) -> bool:
        return any(child.wanted for child in self.state.of_group(group.name))

    def first_children(self) -> list[ChildState]:
        return [child for child in self.state.children.values() if child.first and child.wanted]

    def drain(self, children: Iterable[ChildState], by: float) -> None:
        """Ask the lowest stage that is not done to stop; kill what outlasts its time."""
        alive = [child for child in children if child.alive]
        for child in to_kill(alive):
            if child.dumped_at is not None or self.now >= kill_at(child, alive, by, self.state.limits):
                self.kill(child)
                child.ending = True
            elif not child.ending and child.stop_stage == min(each.stop_stage for each in alive):
                child.ending = True
                self.actions.append(SendStop(child.name))

    def kill(self, child: ChildState) -> None:
        if not child.killed:
            child.killed = True
            self.actions.append(Kill(child.name))
