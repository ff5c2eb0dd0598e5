"""The sentinel: starts the crew, looks, replaces, ends it.

It owns no connection, no lock and no data, and it never waits for anything longer than its guard cycle.
Its signal handlers only note; the loop acts.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType

from django_cluster.cluster.crew import Crew, Slot
from django_cluster.cluster.guard import Action
from django_cluster.cluster.host import hangup_ends_program, set_title
from django_cluster.cluster.scoreboard import NOTIFYING, PHASE, Cause, Phase, State
from django_cluster.cluster.seat import Role
from django_cluster.core.settings import Settings
from django_cluster.errors import ClusterError

logger = logging.getLogger("django_cluster")

GRACEFUL = (signal.SIGTERM, signal.SIGINT)
CREW_SIGNALS: dict[int, Callable[[Crew], None]] = {
    signal.SIGHUP: Crew.renew_workers,
    signal.SIGTTIN: Crew.add_worker,
    signal.SIGTTOU: Crew.retire_worker,
}
NOTED = (*GRACEFUL, signal.SIGQUIT, signal.SIGCHLD, *CREW_SIGNALS)
CLOSING_LIMIT = 10.0
"""Seconds for the pusher to give back and the monitor to file, when the workers were cut off by order, or are gone."""
SETTLING_SECONDS = 4.0
"""Seconds after ``shutdown_timeout`` in which a stop must be over; together at most the 30 that Kubernetes allows."""
FILING_SECONDS = 1.0
"""Seconds of these that the monitor is left when the pusher has used up its own."""
SETTLING = tuple(role for role in Role if role is not Role.NOTIFIER)
"""Those for whom the end of a stop waits. The monitor has waited for the notifier as long as that may take."""
SUSPENDED_SECONDS = 2.0
"""Seconds that the loop may be late; after more, this process or the whole machine was suspended."""
BOOT_LOOK = 0.02
"""Seconds between two looks at children that are starting."""


class ExitCode:
    """What ``qcluster`` says to who started it."""

    GRACEFUL = 0
    CANNOT_START = 1
    CRASH_LOOP = 3
    KILLED_TASKS = 4
    """The stop was ordered or overdue: running tasks were cut off, or results not recorded; they will run again."""
    TASKS_LEFT = 5
    """With ``--until-empty``: tasks are left that are due later, paused, or held by others."""


class Sentinel:
    """One cluster. ``run`` returns an exit code when everything has ended."""

    def __init__(
        self,
        settings: Settings,
        when_running: Callable[[], None] = lambda: None,
        parent: int | None = None,
        *,
        scheduler_only: bool = False,
        until_empty: bool = False,
    ) -> None:
        """``when_running`` is called once when all children are ready.

        ``parent``: a descriptor that becomes readable when the program around this cluster has ended.
        ``scheduler_only``: take nothing from the queue. ``until_empty``: stop when nothing is left to do.
        """
        self._settings = settings
        self._when_running = when_running
        self._parent = parent
        self._crew = Crew(settings, scheduler_only, until_empty)
        self._phase = Phase.STARTING
        self._overdue_at = self._end_at = 0.0
        """Monotonic times: of the end of what the phase waits for, and of the stop as a whole."""
        self._looked_at = time.monotonic()
        self._signals: list[int] = []
        self._exit_code = ExitCode.GRACEFUL
        self._hangup_stops = hangup_ends_program()
        self._ear, self._mouth = socket.socketpair()

    def run(self) -> int:
        """Blocks until the cluster has stopped; call it in the main thread."""
        with self._ear, self._mouth, handling(self._note, self._mouth):
            set_title(f"qcluster {self._settings.name} sentinel")
            try:
                try:
                    self._crew.launch()
                except ClusterError as error:
                    logger.critical("Cluster %s cannot start: %s", self._settings.name, error)
                    return ExitCode.CANNOT_START
                logger.info(
                    "Cluster %s starts: queue %s, %d workers, sentinel %d.",
                    self._settings.name, ", ".join(self._settings.queues), sum(1 for _ in self._crew.of(Role.WORKER)),
                    os.getpid(),
                )  # fmt: skip
                while self._phase is not Phase.STOPPED:
                    self.tick()
            finally:
                self._crew.disband()
        logger.info("Cluster %s has stopped.", self._settings.name)
        return self._exit_code

    def tick(self) -> None:
        """One turn: signals, then the overdue, then the missing."""
        self._wait()
        self._obey_signals()
        now = time.monotonic()
        self._notice_gap(now)
        self._crew.keep_folder()
        if self._crew.board.cluster(NOTIFYING) and not any(self._crew.of(Role.NOTIFIER)):
            self._crew.add_notifier()
        for slot in list(self._crew.slots):
            self._look_at(slot, now)
        self._crew.reap_adopted()
        self._advance(now)

    def _notice_gap(self, now: float) -> None:
        """After a pause of our own, the silence of others says nothing: everybody gets a fresh period."""
        if now - self._looked_at > self._settings.crew.guard_cycle + SUSPENDED_SECONDS:
            self._crew.watched_since = now
        self._looked_at = now

    def _wait(self) -> None:
        now = time.monotonic()
        moments = [now + self._settings.crew.guard_cycle]
        moments += [slot.refill_at for slot in self._crew.slots if slot.empty and self._wanted(slot)]
        if deadline := self._crew.next_deadline():
            moments.append(deadline)
        if self._phase in (Phase.DRAINING, Phase.CLOSING):
            moments.append(self._overdue_at)
        if self._phase is Phase.STARTING:
            moments.append(now + BOOT_LOOK)  # nothing wakes us when a child has become ready
        parent = [] if self._parent is None else [self._parent]
        awake = wait([self._ear, *self._crew.sentinels(), *parent], max(0.0, min(moments) - now))
        if self._parent in awake:
            self._parent = None
            self.stop()
        self._crew.heed(awake)
        self._empty_ear()

    # ── guarding ─────────────────────────────────────────────────────────────────────────────────

    def _look_at(self, slot: Slot, now: float) -> None:
        if slot.empty:
            if slot.retired:
                self._crew.slots.remove(slot)
            elif self._wanted(slot) and now >= slot.refill_at:
                if slot.seat is not None:  # else it is the first in a place that was added
                    self._crew.count_restart()
                self._crew.fill(slot)
                self._repeat_order(slot)
            return
        verdict = self._crew.examine(slot, now)
        if verdict.action is Action.KILL:
            self._crew.kill(slot, verdict.cause)
        elif verdict.action is Action.GIVE_UP:
            self._crew.clear_away(slot, verdict, now)
            self._give_up(slot)
        elif verdict.action is Action.REPLACE:
            self._crew.clear_away(slot, verdict, now)
        elif self._phase is Phase.RUNNING and slot.role is Role.WORKER:
            self._crew.recycle(slot)

    def _wanted(self, slot: Slot) -> bool:
        """Whether an empty slot is to be filled. While stopping, those who settle accounts still are."""
        if self._phase in (Phase.STARTING, Phase.RUNNING):
            return True
        if slot.role is Role.PUSHER:
            return self._phase is Phase.DRAINING and not self._all_gone(Role.WORKER)
        if slot.role is Role.MONITOR:
            return self._phase is Phase.DRAINING and not self._all_gone(Role.WORKER, Role.PUSHER)
        if slot.role is Role.NOTIFIER:
            return bool(self._crew.board.cluster(NOTIFYING)) and not self._all_gone(Role.MONITOR)
        return False

    def _repeat_order(self, slot: Slot) -> None:
        if self._phase is Phase.DRAINING and slot.role is Role.PUSHER:
            self._crew.tell_to_leave(Role.PUSHER)

    def _give_up(self, slot: Slot) -> None:
        logger.critical(
            "The %s died %d times before it was ready; the cluster gives up. Look above for the reason.",
            slot.name, slot.failed_boots,
        )  # fmt: skip
        self._exit_code = ExitCode.CRASH_LOOP
        self._stop_now(Cause.STUCK)

    # ── stopping ─────────────────────────────────────────────────────────────────────────────────

    def _advance(self, now: float) -> None:
        """From phase to phase, when what a phase waits for has happened or its time is up."""
        if self._phase is Phase.STARTING and self._crew.ready:
            self._enter(Phase.RUNNING)
            logger.info("Cluster %s is running.", self._settings.name)
            self._when_running()
        elif self._phase is Phase.RUNNING and self._crew.until_empty and self._crew.idle:
            logger.info("Nothing is left to do now.", extra={"event": "queue_empty"})
            self.stop()
        elif self._phase is Phase.DRAINING:
            if self._all_gone(Role.SCHEDULER, Role.WORKER, Role.PUSHER):
                self._enter(Phase.CLOSING)
                self._overdue_at = min(now + CLOSING_LIMIT, self._end_at)
                self._crew.tell_to_leave(Role.MONITOR)
            elif now >= self._overdue_at:
                self._cut_off(now)
        elif self._phase is Phase.CLOSING and (self._all_gone(*SETTLING) or now >= self._overdue_at):
            self._enter(Phase.STOPPED)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._crew.board.set_cluster(PHASE, phase)

    def _cut_off(self, now: float) -> None:
        """The graceful stop took too long: end the workers, then whoever still does not go."""
        workers = [slot for slot in self._crew.of(Role.WORKER) if not slot.empty]
        late = workers or [slot for slot in self._crew.of(Role.SCHEDULER, Role.PUSHER) if not slot.empty]
        for slot in late:
            state = self._crew.row_of(slot).state
            if state is State.BUSY:
                self._exit_code = ExitCode.KILLED_TASKS
                logger.warning("%s did not finish its task in time and is ended; the task is given back.", slot.name)
            elif state is State.IDLE and slot.role is Role.WORKER:  # else it would have left
                self._exit_code = ExitCode.KILLED_TASKS
                logger.warning(
                    "%s ended: its last results could not be recorded in time; those tasks run again", slot.name,
                    extra={"event": "results_unrecorded"},
                )  # fmt: skip
            self._crew.kill(slot, Cause.SHUTDOWN)
        self._overdue_at = max(self._end_at - FILING_SECONDS, now + FILING_SECONDS)

    def _all_gone(self, *roles: Role) -> bool:
        return all(slot.empty for slot in self._crew.of(*roles))

    def stop(self) -> None:
        """Graceful: take nothing new, let running tasks finish within ``shutdown_timeout``."""
        if self._phase not in (Phase.STARTING, Phase.RUNNING):
            return
        logger.info("Cluster %s stops: running tasks may finish.", self._settings.name)
        self._enter(Phase.DRAINING)
        self._crew.stopping = True
        self._overdue_at = time.monotonic() + self._settings.crew.shutdown_timeout
        self._end_at = self._overdue_at + SETTLING_SECONDS
        self._crew.tell_to_leave(Role.SCHEDULER, Role.PUSHER, Role.WORKER)

    def _stop_now(self, cause: Cause) -> None:
        """At once: running tasks are cut off and given back, what is done is still filed."""
        self.stop()
        self._overdue_at = time.monotonic() + CLOSING_LIMIT  # the pusher has yet to give back what was cut off
        self._end_at = self._overdue_at + FILING_SECONDS
        for slot in self._crew.of(Role.WORKER):
            if not slot.empty:
                if self._crew.row_of(slot).state is State.BUSY and cause is Cause.SHUTDOWN:
                    self._exit_code = ExitCode.KILLED_TASKS
                self._crew.kill(slot, cause)

    # ── signals ──────────────────────────────────────────────────────────────────────────────────

    def _obey_signals(self) -> None:
        signals, self._signals = self._signals, []
        for number in signals:
            if number == signal.SIGQUIT or (number in GRACEFUL and self._phase is Phase.DRAINING):
                logger.warning("Stopping now: running tasks are cut off and given back.")
                self._stop_now(Cause.SHUTDOWN)
            elif number in GRACEFUL:
                self.stop()
            elif number == signal.SIGHUP and self._hangup_stops:
                self._stop_without_terminal()
            elif number in CREW_SIGNALS and self._phase is Phase.RUNNING:
                CREW_SIGNALS[number](self._crew)

    def _stop_without_terminal(self) -> None:
        """Graceful, and never hastened: a closed terminal may send SIGHUP twice, by its shell and by the kernel."""
        if self._phase in (Phase.STARTING, Phase.RUNNING):
            logger.warning(
                "Stopping: terminal closed (SIGHUP); use nohup or a service manager to keep a cluster running",
                extra={"event": "terminal_closed"},
            )
        self.stop()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _empty_ear(self) -> None:
        self._ear.setblocking(False)
        try:
            while self._ear.recv(4096):
                pass
        except BlockingIOError:
            pass


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None], mouth: socket.socket) -> Iterator[None]:
    """Put the handler in place for a while; every signal also writes to ``mouth`` and so wakes the loop."""
    mouth.setblocking(False)
    before = {number: signal.signal(number, handler) for number in NOTED}
    wakeup = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, previous in before.items():
            signal.signal(number, previous)
