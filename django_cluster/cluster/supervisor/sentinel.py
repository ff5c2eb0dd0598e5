"""The sentinel: starts the processes of a cluster, watches and replaces them, and stops the cluster.

It owns no connection, no lock and no data, and never waits longer than ``guard_cycle``. Its signal handlers only note
the signal; the loop acts on it.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from types import FrameType

from django_cluster.cluster.bootstrap.host import hangup_ends_program, set_title
from django_cluster.cluster.ipc.incarnation import ProcessRole
from django_cluster.cluster.ipc.process_row import Cause, ClusterPhase, ProcessState
from django_cluster.cluster.ipc.words import NOTIFIER_NEEDED, PHASE
from django_cluster.cluster.supervisor.child_process import ChildProcess, Slot
from django_cluster.cluster.supervisor.policy import Action
from django_cluster.cluster.supervisor.process_pool import ProcessPool
from django_cluster.cluster.supervisor.service_manager import ServiceManager
from django_cluster.cluster.supervisor.signal_handling import signal_handlers
from django_cluster.core.events.cluster import (
    CLUSTER_RUNNING,
    CLUSTER_START_FAILED,
    CLUSTER_STARTING,
    CLUSTER_STOPPED,
    CLUSTER_STOPPING,
    CRASH_LOOP,
    QUEUE_EMPTY,
    STOP_FORCED,
    TERMINAL_CLOSED,
)
from django_cluster.core.events.processes import RESULTS_UNRECORDED, TASK_INTERRUPTED
from django_cluster.core.settings import Settings
from django_cluster.errors import ClusterError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
POOL_SIGNALS: dict[int, Callable[[ProcessPool], None]] = {
    signal.SIGHUP: ProcessPool.restart_workers,
    signal.SIGTTIN: ProcessPool.add_worker,
    signal.SIGTTOU: ProcessPool.remove_worker,
}
HANDLED_SIGNALS = (*STOP_SIGNALS, signal.SIGQUIT, signal.SIGCHLD, *POOL_SIGNALS)
CLOSING_SECONDS = 10.0
"""Seconds for the pusher to return messages and the monitor to record, when the workers have exited or were killed."""
FORCED_STOP_SECONDS = 4.0
"""Seconds after ``shutdown_timeout`` in which a stop must be over; together at most the 30 that Kubernetes allows."""
RECORDING_SECONDS = 1.0
"""Seconds of ``FORCED_STOP_SECONDS`` that are left to the monitor when the pusher has used up its own."""
AWAITED_ROLES = tuple(role for role in ProcessRole if role is not ProcessRole.NOTIFIER)
"""The roles for which the end of a stop waits. The monitor has waited for the notifier as long as that may take."""
SUSPENDED_SECONDS = 2.0
"""Seconds by which the loop may be late; after more, this process or the whole machine was suspended."""
BOOT_POLL_SECONDS = 0.02
"""Seconds between two looks at processes that are booting."""


class ExitCode:
    """The exit codes of ``qcluster``."""

    GRACEFUL = 0
    CANNOT_START = 1
    CRASH_LOOP = 3
    KILLED_TASKS = 4
    """The stop was ordered or overdue: running tasks were killed, or results not recorded; they will run again."""
    TASKS_LEFT = 5
    """With ``--until-empty``: tasks are left that are due later, paused, or held by others."""


class Sentinel:
    """One cluster. ``run`` returns an exit code when every process has exited."""

    def __init__(
        self,
        settings: Settings,
        when_running: Callable[[], None] = lambda: None,
        parent: int | None = None,
        *,
        scheduler_only: bool = False,
        until_empty: bool = False,
    ) -> None:
        """``when_running`` is called once, when all processes are ready.

        ``parent``: a descriptor that becomes readable when the program around this cluster has ended.
        ``scheduler_only``: take nothing from the queue. ``until_empty``: stop when nothing is left to do.
        """
        self._settings = settings
        self._when_running = when_running
        self._parent = parent
        self._service_manager = ServiceManager(os.environ)
        self._pool = ProcessPool(settings, scheduler_only, until_empty)
        self._phase = ClusterPhase.STARTING
        self._phase_ends_at = self._stop_ends_at = 0.0
        """Monotonic times: when the present phase is overdue, and when the stop as a whole is."""
        self._checked_at = time.monotonic()
        self._signals: list[int] = []
        self._exit_code = ExitCode.GRACEFUL
        self._hangup_stops = hangup_ends_program()
        self._wakeup_reader, self._wakeup_writer = socket.socketpair()

    def run(self) -> int:
        """Blocks until the cluster has stopped. Must be called in the main thread."""
        with (
            self._wakeup_reader,
            self._wakeup_writer,
            signal_handlers(HANDLED_SIGNALS, self._on_signal, self._wakeup_writer),
        ):
            set_title(f"qcluster {self._settings.name} sentinel")
            try:
                try:
                    self._pool.launch()
                except ClusterError as error:
                    CLUSTER_START_FAILED.log(namespace=self._settings.name, error=error)
                    return ExitCode.CANNOT_START
                CLUSTER_STARTING.log(
                    namespace=self._settings.name,
                    queues=", ".join(self._settings.queues),
                    workers=sum(1 for _ in self._pool.of(ProcessRole.WORKER)),
                    sentinel_pid=os.getpid(),
                    cluster_id=self._pool.runtime_dir.cluster,
                )
                while self._phase is not ClusterPhase.STOPPED:
                    self.tick()
            finally:
                self._pool.close()
        CLUSTER_STOPPED.log(namespace=self._settings.name)
        return self._exit_code

    def tick(self) -> None:
        """One turn: act on signals, check every process, and go on to the next phase."""
        self._wait()
        self._handle_signals()
        now = time.monotonic()
        self._service_manager.alive(now)
        self._detect_suspension(now)
        self._pool.keep_runtime_dir()
        if self._pool.board.cluster_word(NOTIFIER_NEEDED) and not any(self._pool.of(ProcessRole.NOTIFIER)):
            self._pool.add_notifier()
        for slot in list(self._pool.slots):
            if slot.child is None:
                self._fill(slot, now)
            else:
                self._check(slot, slot.child, now)
        self._pool.reap_orphans()
        self._advance(now)

    def _detect_suspension(self, now: float) -> None:
        """After a pause of this process, the silence of others means nothing: each gets a fresh period."""
        if now - self._checked_at > self._settings.processes.guard_cycle + SUSPENDED_SECONDS:
            self._pool.watched_since = now
        self._checked_at = now

    def _wait(self) -> None:
        now = time.monotonic()
        moments = [now + self._settings.processes.guard_cycle]
        moments += [slot.restart_at for slot in self._pool.slots if slot.child is None and self._wanted(slot)]
        if deadline := self._pool.next_deadline():
            moments.append(deadline)
        if self._phase in (ClusterPhase.DRAINING, ClusterPhase.CLOSING):
            moments.append(self._phase_ends_at)
        if self._phase is ClusterPhase.STARTING:
            moments.append(now + BOOT_POLL_SECONDS)  # a process that has become ready does not wake us
        parent = [] if self._parent is None else [self._parent]
        readable = wait([self._wakeup_reader, *self._pool.sentinels(), *parent], max(0.0, min(moments) - now))
        if self._parent in readable:
            self._parent = None
            self.stop()
        self._pool.ignore_unreliable(readable)
        self._drain_wakeups()

    # ── watching ─────────────────────────────────────────────────────────────────────────────────

    def _fill(self, slot: Slot, now: float) -> None:
        if slot.removed:
            self._pool.slots.remove(slot)
        elif self._wanted(slot) and now >= slot.restart_at:
            self._pool.start(slot)
            if self._phase is ClusterPhase.DRAINING and slot.role is ProcessRole.PUSHER:
                self._pool.request_stop(ProcessRole.PUSHER)

    def _check(self, slot: Slot, child: ChildProcess, now: float) -> None:
        decision = self._pool.decide_on(slot, child, now)
        if decision.action is Action.KILL:
            self._pool.kill(child, decision.cause)
        elif child.exit_code is not None and decision.action in (Action.REPLACE, Action.STOP_CLUSTER):
            self._pool.handle_exit(slot, child, child.exit_code, decision.delay, now)
            if decision.action is Action.STOP_CLUSTER:
                self._stop_after_crash_loop(slot)
        elif slot.role is ProcessRole.WORKER:
            self._pool.cancel_if_requested(child)
            if self._phase is ClusterPhase.RUNNING:
                self._pool.restart_if_requested(child)

    def _wanted(self, slot: Slot) -> bool:
        """Whether an empty slot is to be filled. During a stop, those that record and acknowledge still are."""
        if self._phase in (ClusterPhase.STARTING, ClusterPhase.RUNNING):
            return True
        if slot.role is ProcessRole.PUSHER:
            return self._phase is ClusterPhase.DRAINING and not self._all_ended(ProcessRole.WORKER)
        if slot.role is ProcessRole.MONITOR:
            return self._phase is ClusterPhase.DRAINING and not self._all_ended(ProcessRole.WORKER, ProcessRole.PUSHER)
        if slot.role is ProcessRole.NOTIFIER:
            needed = bool(self._pool.board.cluster_word(NOTIFIER_NEEDED))
            return needed and not self._all_ended(ProcessRole.MONITOR)
        return False

    def _stop_after_crash_loop(self, slot: Slot) -> None:
        CRASH_LOOP.log(process_name=slot.name, count=slot.failed_boots)
        self._exit_code = ExitCode.CRASH_LOOP
        self._stop_now(Cause.CRASH_LOOP)

    # ── stopping ─────────────────────────────────────────────────────────────────────────────────

    def _advance(self, now: float) -> None:
        """Go on to the next phase, when what the present one waits for has happened, or its time is up."""
        if self._phase is ClusterPhase.STARTING and self._pool.ready:
            self._enter(ClusterPhase.RUNNING)
            CLUSTER_RUNNING.log(namespace=self._settings.name)
            self._service_manager.ready(f"Works on {', '.join(self._settings.queues)}.")
            self._when_running()
        elif self._phase is ClusterPhase.RUNNING and self._pool.until_empty and self._pool.idle:
            QUEUE_EMPTY.log()
            self.stop()
        elif self._phase is ClusterPhase.DRAINING:
            if self._all_ended(ProcessRole.SCHEDULER, ProcessRole.WORKER, ProcessRole.PUSHER):
                self._enter(ClusterPhase.CLOSING)
                self._phase_ends_at = min(now + CLOSING_SECONDS, self._stop_ends_at)
                self._pool.request_stop(ProcessRole.MONITOR)
            elif now >= self._phase_ends_at:
                self._force_stop(now)
        elif self._phase is ClusterPhase.CLOSING and (self._all_ended(*AWAITED_ROLES) or now >= self._phase_ends_at):
            self._enter(ClusterPhase.STOPPED)

    def _enter(self, phase: ClusterPhase) -> None:
        self._phase = phase
        self._pool.board.set_cluster_word(PHASE, phase)

    def _force_stop(self, now: float) -> None:
        """The graceful stop took too long: kill the workers, and in a second call what else is left."""
        workers = self._pool.children(ProcessRole.WORKER)
        for slot, child in workers or self._pool.children(ProcessRole.SCHEDULER, ProcessRole.PUSHER):
            row = self._pool.row_of(child)
            if row.busy:
                self._exit_code = ExitCode.KILLED_TASKS
                TASK_INTERRUPTED.log(process_name=slot.name)
            elif row.state is ProcessState.IDLE and slot.role is ProcessRole.WORKER:  # otherwise it would have exited
                self._exit_code = ExitCode.KILLED_TASKS
                RESULTS_UNRECORDED.log(process_name=slot.name)
            self._pool.kill(child, Cause.SHUTDOWN)
        self._phase_ends_at = max(self._stop_ends_at - RECORDING_SECONDS, now + RECORDING_SECONDS)

    def _all_ended(self, *roles: ProcessRole) -> bool:
        return not self._pool.children(*roles)

    def stop(self) -> None:
        """Stop gracefully: take nothing new, and let running tasks finish within ``shutdown_timeout``."""
        if self._phase not in (ClusterPhase.STARTING, ClusterPhase.RUNNING):
            return
        CLUSTER_STOPPING.log(namespace=self._settings.name)
        self._service_manager.stopping("Takes no new tasks, and waits for those that run.")
        self._enter(ClusterPhase.DRAINING)
        self._pool.stopping = True
        self._phase_ends_at = time.monotonic() + self._settings.processes.shutdown_timeout
        self._stop_ends_at = self._phase_ends_at + FORCED_STOP_SECONDS
        self._pool.request_stop(ProcessRole.SCHEDULER, ProcessRole.PUSHER, ProcessRole.WORKER)

    def _stop_now(self, cause: Cause) -> None:
        """Stop immediately: running tasks are killed and returned to the queue, what is done is still recorded."""
        self.stop()
        self._phase_ends_at = time.monotonic() + CLOSING_SECONDS  # the pusher still has to return what was killed
        self._stop_ends_at = self._phase_ends_at + RECORDING_SECONDS
        for _, child in self._pool.children(ProcessRole.WORKER):
            if self._pool.row_of(child).busy and cause is Cause.SHUTDOWN:
                self._exit_code = ExitCode.KILLED_TASKS
            self._pool.kill(child, cause)

    # ── signals ──────────────────────────────────────────────────────────────────────────────────

    def _handle_signals(self) -> None:
        signals, self._signals = self._signals, []
        for number in signals:
            if number == signal.SIGQUIT or (number in STOP_SIGNALS and self._phase is ClusterPhase.DRAINING):
                STOP_FORCED.log()
                self._stop_now(Cause.SHUTDOWN)
            elif number in STOP_SIGNALS:
                self.stop()
            elif number == signal.SIGHUP and self._hangup_stops:
                self._stop_without_terminal()
            elif number in POOL_SIGNALS and self._phase is ClusterPhase.RUNNING:
                POOL_SIGNALS[number](self._pool)

    def _stop_without_terminal(self) -> None:
        """Graceful, and not faster the second time: SIGHUP may come from the shell and from the kernel."""
        if self._phase in (ClusterPhase.STARTING, ClusterPhase.RUNNING):
            TERMINAL_CLOSED.log()
        self.stop()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _drain_wakeups(self) -> None:
        self._wakeup_reader.setblocking(False)
        try:
            while self._wakeup_reader.recv(4096):
                pass
        except BlockingIOError:
            pass
