"""The loop: waits for whatever happens, has it decided, carries the decision out.

It waits for children that end (sentinels) or speak (control pipes), signals, and the control socket, at
most until the next deadline. Nothing else in this process ever waits, and it has no thread.
"""

import gc
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from signal import SIGHUP, SIGINT
from typing import Any

from procs import web
from procs.errors import PermanentError
from procs.messages import Beat, Reconfigure, Snapshot, Stop
from procs.messages import Failed as SaysFailed
from procs.messages import Finished as SaysFinished
from supervisor import health, state, status
from supervisor.child import Birth
from supervisor.control import ControlServer, Request
from supervisor.crew import Crew
from supervisor.decide import decide, next_deadline
from supervisor.herald import Herald
from supervisor.ledger import Ledger
from supervisor.logs import Format
from supervisor.notify import Notifier
from supervisor.pending_reload import PendingReload
from supervisor.progress import ReindexProgress
from supervisor.reload import Changes, compare
from supervisor.settings import Settings, SettingsError, redact
from supervisor.signals import Signals
from supervisor.state import Limits
from supervisor.sums import Sums
from supervisor.tree import Child, Mode, Pipe

log = logging.getLogger(__name__)

AUDIENCE = "web"
"""The child that shows the status to others."""
SNAPSHOT_EVERY_S = 0.8
"""Whoever works beats about once a second: each beat has the loop send a snapshot, or the next one does."""


@dataclass(frozen=True)
class Outfit:
    """What the loop works with; all of it stands before the first child is forked."""

    mode: Mode
    children: Sequence[Child]
    pipes: Sequence[Pipe]
    read_settings: Callable[[], Settings]
    """Reads them again for a reload. Raises SettingsError or PermanentError."""
    log_format: Format
    debug: bool
    control: ControlServer
    ledger: Ledger
    notifier: Notifier
    progress: ReindexProgress | None = None
    limits: Limits = field(default_factory=Limits)
    """The restart policy; the time-outs of stop and hang come from the settings."""


class Daemon:
    """One run of the supervisor."""

    def __init__(self, settings: Settings, outfit: Outfit) -> None:
        self._outfit = outfit
        self._crew = Crew(outfit.children, outfit.pipes)
        self._herald = Herald(outfit.notifier)
        self._settings = settings
        self._mongo_uri = redact(settings.database.uri)
        self._state = state.initial(
            outfit.children,
            self._limits(),
            unwanted=self._unwanted(),
            one_shot=outfit.mode is Mode.FULL,
        )
        self._events: deque[state.Event] = deque()
        self._exit: state.Exit | None = None
        self._interrupted = False
        self._reload: PendingReload | None = None
        self._sums = Sums(row.name for row in outfit.children)
        self._last: dict[str, Beat] = {}
        self._snapshot_at = float("-inf")

    def run(self) -> int:
        """Run until a stop, a permanent error or the end of the task; return the exit code."""
        # What is loaded by now stays in pages that children share.
        gc.collect()
        gc.freeze()
        try:
            with Signals() as signals:
                self._feed(state.Start())
                while self._exit is None:
                    self._round(signals)
        finally:
            self._crew.end()
            if self._outfit.progress:
                self._outfit.progress.close()
        if self._exit.line:
            log.error("%s", self._exit.line, extra={"event": "giving_up"})
        log.info("stopped", extra={"event": "stopped", "exit_code": self._exit.code})
        return self._exit.code

    def _round(self, signals: Signals) -> None:
        """Wait, read all that has come, act on it, and only then judge who was silent."""
        control = self._outfit.control
        waitables: list[Any] = [signals, *self._crew.waitables(), *control.waitables()]
        ready = wait(waitables, timeout=self._patience())
        for number in signals.take():
            self._take_signal(number)
        for name, message in self._crew.hear(ready):
            self._take_message(name, message)
        for exited in self._bury(ready):
            self._feed(exited)
        for request in control.take(ready, time.monotonic()):
            self._answer(request)
        self._feed(state.Tick())
        self._tell()

    def _patience(self) -> float:
        """Return for how many seconds the loop may wait."""
        now = time.monotonic()
        until = min(next_deadline(self._state), self._outfit.control.next_deadline())
        if self._outfit.notifier.watchdog_s:
            until = min(until, now + self._outfit.notifier.watchdog_s / 2)
        if self._outfit.progress:
            until = min(until, now + self._outfit.progress.every_s)
        return max(0.0, until - now)

    def _feed(self, event: state.Event) -> None:
        """Have an event decided, and whatever follows from carrying the decision out."""
        self._events.append(event)
        while self._events:
            self._state, actions = decide(self._state, self._events.popleft(), time.monotonic())
            for action in actions:
                self._do(action)

    # What comes in
    def _take_signal(self, number: int) -> None:
        if number == SIGHUP:
            self._begin_reload(None)
        elif number == SIGINT and self._interrupted:
            self._feed(state.StopAtOnce())
        else:
            self._interrupted = self._interrupted or number == SIGINT
            self._stop()

    def _take_message(self, name: str, message: Beat | SaysFailed | SaysFinished) -> None:
        match message:
            case Beat(phase=phase, ready=ready, allowed_silence_s=allowed_silence_s):
                if ready and not self._state.children[name].ready:
                    log.info("%s is at work", name, extra={"event": "child_ready", "child": name})
                self._feed(state.Heard(name, phase, ready, allowed_silence_s))
            case SaysFailed(reason=reason, permanent=permanent):
                self._feed(state.Failed(name, reason, permanent))
            case SaysFinished(summary=summary):
                if self._outfit.progress:
                    self._outfit.progress.finish(summary)
                self._feed(state.Finished(name))

    def _bury(self, ready: Sequence[Any]) -> list[state.Exited]:
        before = self._crew.beats()
        exits = self._crew.bury(ready)
        for exited in exits:
            if exited.child in before:
                self._sums.keep(exited.child, before[exited.child])
                self._last[exited.child] = before[exited.child]
        return exits

    def _answer(self, request: Request) -> None:
        match request.command:
            case "status":
                request.reply(self._status())
            case "stop":
                request.reply({"ok": True, "pid": os.getpid(), "within_s": self._state.limits.stop_s})
                self._stop()
            case "reload":
                self._begin_reload(request)

    def _stop(self) -> None:
        if self._state.stop is None:
            log.info("stopping", extra={"event": "stopping"})
        self._feed(state.StopAsked())

    # What goes out
    def _do(self, action: state.Action) -> None:
        match action:
            case state.StartGroup(group):
                if not self._state.groups[group].failures:
                    self._last.clear()  # other settings: what was known may be of another place
                self._events += self._crew.start(group, self._configs(), self._birth())
            case state.SendStop(name):
                self._crew.send(name, Stop())
            case state.SendConfig(name):
                self._crew.send(name, Reconfigure(self._configs()[name], self._settings.log_level))
            case state.Dump(name):
                child = self._state.children[name]
                silence_s = time.monotonic() - child.heard_at
                self._crew.dump(name, f"silent for {silence_s:.1f} s in phase {child.phase}")
            case state.Kill(name):
                self._crew.kill(name)
            case state.Report():
                self._report(action)
            case state.Announce(level, event, text):
                log.log(level, "%s", text, extra={"event": event})
            case state.Exit():
                self._exit = action

    def _report(self, exited: state.Report) -> None:
        gone = self._crew.gone[exited.child]
        text = f"{exited.child} ended by {gone.cause} in phase {gone.phase}{exited.why and f': {exited.why}'}"
        if exited.again_in is not None:
            text += f"; starts again in {exited.again_in * 1000:.0f} ms"
        told = {"child": exited.child, "child_pid": gone.pid, "cause": gone.cause}
        if not exited.fault:
            log.info("%s", text, extra={"event": "child_ended", **told})
        else:
            log.warning("%s", text, extra={"event": "child_died", **told})
            self._outfit.ledger.record(
                child=exited.child, pid=gone.pid, cause=gone.cause, phase=gone.phase, reason=exited.why
            )
        if exited.fault and exited.again_in is not None:
            self._sums.restarted(exited.child, "hang" if gone.hung else gone.cause)

    def _tell(self) -> None:
        """Tell the outside what this round has changed."""
        self._settle_reload()
        now = time.monotonic()
        self._herald.tell(self._state, health.sync_phase(self._state), self._mongo_uri, now)
        if self._outfit.progress:
            for beat in self._crew.beats().values():
                self._outfit.progress.show(beat.gauges, now)
        self._sums.note(self._crew.beats(), now)
        if AUDIENCE in self._crew.running and now >= self._snapshot_at + SNAPSHOT_EVERY_S:
            self._snapshot_at = now
            self._crew.send(AUDIENCE, Snapshot(self._status()))

    def _status(self) -> dict[str, Any]:
        seen = status.Seen(
            self._state,
            self._crew.running,
            self._last,
            self._outfit.ledger.deaths,
            self._sums,
            instance=self._settings.instance,
            mode=self._outfit.mode,
            mongo_uri=self._mongo_uri,
        )
        return status.assemble(seen)

    # Reload
    def _begin_reload(self, asker: Request | None) -> None:
        """Read the settings again and go over to them; wrong ones change nothing."""
        self._herald.reload_begins()
        changes = self._read_again()
        if isinstance(changes, str):
            text = f"reload refused, the old settings stay: {changes}"
            log.error("%s", text, extra={"event": "reload_refused"})
            if asker:
                asker.reply({"ok": False, "text": text})
            if self._reload is None:
                self._herald.reload_is_over()
            return
        for line in changes.changed:
            log.info("reload: %s", line, extra={"event": "setting_changed"})
        for line in changes.at_next_start:
            log.warning("reload: at the next start only: %s", line, extra={"event": "setting_waits"})
        level_changed = changes.settings.log_level != self._settings.log_level
        self._settings = changes.settings
        self._mongo_uri = redact(self._settings.database.uri)
        logging.getLogger().setLevel(self._settings.log_level)
        rows = self._outfit.children
        groups = frozenset(row.group for row in rows if row.config in changes.restart)
        live = frozenset(row.name for row in rows if level_changed or row.config in changes.live)
        self._reload = self._reload or PendingReload()
        self._reload.join(changes.changed, changes.at_next_start, groups, asker)
        self._feed(state.Reloaded(self._limits(), live, groups, self._unwanted()))

    def _read_again(self) -> Changes | str:
        try:
            changes = compare(self._settings, self._outfit.read_settings())
            web.check_change(self._settings.web, changes.settings.web)
            return changes
        except (SettingsError, PermanentError) as error:
            return "; ".join(str(error).splitlines())

    def _settle_reload(self) -> None:
        """Tell what came of a reload as soon as that is known."""
        outcome = self._reload and self._reload.outcome(self._state)
        if self._reload and outcome:
            if outcome["ok"]:
                log.info("reload: %s", outcome["text"], extra={"event": "reload_done"})
            else:
                log.error("reload: %s", outcome["text"], extra={"event": "reload_failed"})
            for asker in self._reload.askers:
                asker.reply(outcome)
            self._reload = None
            self._herald.reload_is_over()

    # The settings in force, as others see them
    def _configs(self) -> dict[str, Any]:
        return {row.name: getattr(self._settings, row.config) for row in self._outfit.children}

    def _unwanted(self) -> frozenset[str]:
        return frozenset(name for name, config in self._configs().items() if config is None)

    def _limits(self) -> Limits:
        return replace(
            self._outfit.limits,
            stop_s=self._settings.stop_timeout_ms / 1000,
            hang_s=self._settings.hang_timeout_ms / 1000,
        )

    def _birth(self) -> Birth:
        return Birth(
            instance=self._settings.instance,
            state_dir=self._settings.state_dir,
            log_level=self._settings.log_level,
            log_format=self._outfit.log_format,
            debug=self._outfit.debug,
        )
