"""All child processes of one sentinel: starts, watches, stops and kills them.

The pool opens no connection and reads no task. ``policy.py`` decides what is to be done about a process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from django_cluster.brokers import needs_delay_queue
from django_cluster.cluster.bootstrap.entry import run_process, warm_up_before_fork
from django_cluster.cluster.bootstrap.host import (
    adopts_orphans,
    oom_kills,
    resident_kilobytes,
)
from django_cluster.cluster.ipc.incarnation import ProcessRole
from django_cluster.cluster.ipc.process_row import Cause, ProcessCommand, ProcessState, ScoreboardRow
from django_cluster.cluster.ipc.words import CAUSE, COMMAND, COMMANDS_UNREAD, PEAK_RSS, RESTARTS, UNTIL_EMPTY
from django_cluster.cluster.roles.idleness import is_cluster_idle
from django_cluster.cluster.roles.worker_exit import crash_file
from django_cluster.cluster.supervisor.child_process import ChildProcess, Slot
from django_cluster.cluster.supervisor.exit_log import log_exit
from django_cluster.cluster.supervisor.forkserver import reap_orphans, start_forkserver
from django_cluster.cluster.supervisor.incarnation_factory import IncarnationFactory
from django_cluster.cluster.supervisor.policy import (
    EARLY_EXIT_SECONDS,
    Decision,
    Observation,
    decide,
    silence_limit,
    silence_seconds,
)
from django_cluster.cluster.supervisor.runtime_dir_owner import RuntimeDirOwner
from django_cluster.core.events.cluster import (
    SIGNAL_IGNORED,
    WORKER_ADDED,
    WORKER_REMOVED,
    WORKER_RESTART_REQUESTED,
    WORKERS_RESTARTING,
)
from django_cluster.core.settings import Settings

SPARE_ROWS = 32
"""Rows of the scoreboard beyond one for each process: those of dead processes stay readable for a while."""
EXPLAINED_CAUSES = (Cause.TIMEOUT, Cause.MEMORY, Cause.CANCELLED)
"""Causes for which a worker is killed in the middle of a task: where it was is worth knowing."""
START_ORDER = (ProcessRole.MONITOR, ProcessRole.PUSHER, ProcessRole.WORKER, ProcessRole.SCHEDULER)


@dataclass
class ProcessPool:
    """The slots of one cluster. Call ``launch`` first and ``close`` last."""

    settings: Settings
    scheduler_only: bool = False
    """Whether nothing is taken from the queue: there is no pusher and no worker."""
    until_empty: bool = False
    """Whether the processes say when they have nothing left to do (``idle``)."""
    slots: list[Slot] = field(init=False)
    restarts: int = 0

    def __post_init__(self) -> None:
        scheduling = self.settings.schedule.enabled or any(
            needs_delay_queue(section) for section in self.settings.broker_sections
        )
        counts = {ProcessRole.WORKER: self.settings.processes.workers, ProcessRole.SCHEDULER: int(scheduling)}
        if self.scheduler_only:
            counts |= {ProcessRole.WORKER: 0, ProcessRole.PUSHER: 0}
        self.slots = [Slot(role, index) for role in START_ORDER for index in range(counts.get(role, 1))]
        self._context: Any = multiprocessing.get_context(self.settings.processes.start_method)
        self._forks = self.settings.processes.start_method == "fork"
        self._oom_kills = oom_kills()
        self._lease = max(section.lease for section in self.settings.broker_sections)
        self.watched_since = 0.0
        """Monotonic time since which the sentinel has watched its children without a pause of its own."""
        self.stopping = False
        """Whether the cluster stops; a process that hangs is then killed sooner."""
        self._incarnations = IncarnationFactory(self.settings.processes)
        self._adopts = adopts_orphans()
        self._runtime_dir_owner: RuntimeDirOwner | None = None

    # ── start and end ────────────────────────────────────────────────────────────────────────────

    def launch(self) -> None:
        """Create the runtime directory and start all processes. Raises ``ClusterError`` where there is no room."""
        self._runtime_dir_owner = RuntimeDirOwner(len(self.slots) + SPARE_ROWS)
        self.runtime_dir, self.board = self._runtime_dir_owner.runtime_dir, self._runtime_dir_owner.board
        self.board.record_launch(os.getpid(), time.time())
        self.board.set_cluster_word(UNTIL_EMPTY, int(self.until_empty))
        self.board.set_cluster_word(COMMANDS_UNREAD, int(bool(self.settings.processes.heartbeat_interval)))
        if self._forks:
            warm_up_before_fork(self.settings)
        elif self.settings.processes.start_method == "forkserver":
            start_forkserver()
        for slot in self.slots:
            self.start(slot)

    def close(self) -> None:
        """Kill what is left, and remove the runtime directory."""
        for slot in self.slots:
            if slot.child is not None:
                slot.child.kill()
                slot.child.process.join()
                self._remove_child(slot, slot.child)
        if self._runtime_dir_owner is not None:
            self._runtime_dir_owner.close()

    def keep_runtime_dir(self) -> None:
        """Restore the runtime directory when another program has removed it: the next process needs it."""
        if self._runtime_dir_owner is not None:
            self._runtime_dir_owner.restore_if_lost()

    def reap_orphans(self) -> None:
        """Reap exited programs of tasks, where they become children of this process."""
        if self._adopts:
            reap_orphans()

    # ── watching ─────────────────────────────────────────────────────────────────────────────────

    def of(self, *roles: ProcessRole) -> Iterator[Slot]:
        return (slot for slot in self.slots if slot.role in roles)

    def children(self, *roles: ProcessRole) -> list[tuple[Slot, ChildProcess]]:
        """The slots of these roles that have a child, with it."""
        return [(slot, slot.child) for slot in self.of(*roles) if slot.child is not None]

    def row_of(self, child: ChildProcess) -> ScoreboardRow:
        return self.board.read(child.incarnation.row)

    @property
    def ready(self) -> bool:
        """Whether every process has finished booting."""
        return all(
            slot.child is not None and self.row_of(slot.child).state is not ProcessState.BOOTING for slot in self.slots
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do, where the cluster works until its queue is empty."""

        def moments(*roles: ProcessRole) -> list[float]:
            children = [slot.child for slot in self.of(*roles)]
            return [0.0 if child is None else self.board.idle_since(child.incarnation.row) for child in children]

        return is_cluster_idle(moments(ProcessRole.PUSHER), moments(ProcessRole.MONITOR, ProcessRole.SCHEDULER))

    def sentinels(self) -> list[int]:
        """Descriptors that become readable when a child exits."""
        children = [child for _, child in self.children(*ProcessRole)]
        return [child.process.sentinel for child in children if not child.sentinel_unreliable]

    def ignore_unreliable(self, readable: Container[object]) -> None:
        """No longer wait for the descriptor of a child that is readable although the child lives.

        It would stay readable, and the sentinel would never sleep. SIGCHLD tells the exit of such a child.
        """
        for _, child in self.children(*ProcessRole):
            if child.process.sentinel in readable:
                child.sentinel_unreliable = child.exit_code is None

    def decide_on(self, slot: Slot, child: ChildProcess, now: float) -> Decision:
        """What is to be done about a child."""
        settings, row = self.settings.processes, self.row_of(child)
        observation = Observation(
            row,
            child.exit_code,
            now - child.started,
            slot.early_exits,
            slot.failed_boots,
            self._measure_memory(child, row),
            silence_seconds(row, now, max(self.watched_since, child.started)),
        )
        return decide(
            observation,
            now,
            grace=settings.kill_grace,
            boot_timeout=settings.boot_timeout,
            max_rss=settings.max_rss_kill,
            max_silence=silence_limit(self._lease, settings.unresponsive_timeout, stopping=self.stopping),
        )

    def _measure_memory(self, child: ChildProcess, row: ScoreboardRow) -> int:
        """Resident kilobytes of a worker that runs a task; the peak is kept for the report of its loss."""
        if child.incarnation.role is not ProcessRole.WORKER or not row.busy:
            return 0
        rss = resident_kilobytes(row.pid)
        self.board.set(child.incarnation.row, PEAK_RSS, max(rss, row.peak_rss))
        return rss

    def next_deadline(self) -> float | None:
        """The monotonic time of the earliest hard timeout of a running task, or of its cancellation."""
        rows = [self.row_of(child) for _, child in self.children(ProcessRole.WORKER, ProcessRole.NOTIFIER)]
        deadlines = [row.overdue_at for row in rows if row.overdue_at]
        return min(deadlines) + self.settings.processes.kill_grace if deadlines else None

    # ── starting ─────────────────────────────────────────────────────────────────────────────────

    def start(self, slot: Slot) -> None:
        """Start a new incarnation in an empty slot."""
        if slot.starts:
            self.restarts += 1
            self.board.set_cluster_word(RESTARTS, self.restarts)
        slot.starts += 1
        used = {child.incarnation.row for _, child in self.children(*ProcessRole)}
        incarnation = self._incarnations.new(slot.role, slot.index, self.runtime_dir, used)
        self.board.reset_row(incarnation.row, incarnation.number, incarnation.role_code)
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=run_process,
            args=(incarnation, self.settings, reader, self._inherited_descriptors(writer)),
            name=incarnation.name,
            daemon=self.settings.processes.daemonize,
        )
        slot.child = ChildProcess(incarnation, process, writer, time.monotonic())
        process.start()
        reader.close()

    def _inherited_descriptors(self, own_writer: Connection) -> tuple[int, ...]:
        """What a forked child must close: the sentinel's ends of all control pipes, its own included.

        A copy of such an end in another child would hide the death of the sentinel.
        """
        if not self._forks:
            return ()
        board = () if self.board.descriptor is None else (self.board.descriptor,)
        pipes = [child.pipe.fileno() for _, child in self.children(*ProcessRole)]
        return (*board, own_writer.fileno(), *pipes)

    def add_notifier(self) -> None:
        """Add the slot of the notifier, of which there is one at most."""
        self.slots.append(Slot(ProcessRole.NOTIFIER, 0))

    def add_worker(self) -> None:
        """Add the slot of one more worker (TTIN)."""
        if self.scheduler_only:
            SIGNAL_IGNORED.log(signal="TTIN", reason="this cluster runs the scheduler only")
            return
        taken = {slot.index for slot in self.of(ProcessRole.WORKER)}
        self.slots.append(Slot(ProcessRole.WORKER, min(set(range(len(taken) + 1)) - taken)))
        WORKER_ADDED.log(workers=len(taken) + 1)

    # ── stopping ─────────────────────────────────────────────────────────────────────────────────

    def request_stop(self, *roles: ProcessRole) -> None:
        """Ask the processes of these roles to finish what they do, and exit."""
        for _, child in self.children(*roles):
            self._request_stop(child)

    def _request_stop(self, child: ChildProcess) -> None:
        if not child.stop_requested:
            child.stop_requested = True
            self.board.set(child.incarnation.row, COMMAND, ProcessCommand.STOP)
            child.wake()

    def restart_workers(self) -> None:
        """Every worker exits after its present task, and is replaced (HUP)."""
        WORKERS_RESTARTING.log()
        self.request_stop(ProcessRole.WORKER, ProcessRole.NOTIFIER)

    def restart_if_requested(self, child: ChildProcess) -> None:
        """Stop a worker of which an operator has requested the restart."""
        if not child.stop_requested and self.row_of(child).restart_request == child.incarnation.number:
            WORKER_RESTART_REQUESTED.log(process_name=child.incarnation.name)
            self._request_stop(child)

    def cancel_if_requested(self, child: ChildProcess) -> None:
        """Interrupt a worker whose task is to be cancelled; once for each task."""
        row = self.row_of(child)
        if row.is_cancelled and child.cancelled_job != row.cancel_job:
            child.cancelled_job = row.cancel_job
            child.interrupt()

    def remove_worker(self) -> None:
        """The last worker exits after its present task, and is not replaced (TTOU). One always stays."""
        remaining = [slot for slot in self.of(ProcessRole.WORKER) if not slot.removed]
        if len(remaining) < 2:
            if not self.scheduler_only:
                SIGNAL_IGNORED.log(signal="TTOU", reason="at least one worker is required")
            return
        slot = remaining[-1]
        slot.removed = True
        if slot.child is not None:
            self._request_stop(slot.child)
        WORKER_REMOVED.log(workers=len(remaining) - 1)

    def kill(self, child: ChildProcess, cause: Cause) -> None:
        """SIGKILL, after the cause is on the scoreboard: the pusher and the monitor report it."""
        self.board.set(child.incarnation.row, CAUSE, cause)
        if cause in EXPLAINED_CAUSES and child.incarnation.role is ProcessRole.WORKER:
            child.write_stack(crash_file(self.runtime_dir.path, child.incarnation.number))
        child.kill()

    # ── after an exit ────────────────────────────────────────────────────────────────────────────

    def handle_exit(self, slot: Slot, child: ChildProcess, exit_code: int, delay: float, now: float) -> None:
        """Record how a child has exited. ``delay``: seconds until the slot may be filled again."""
        self._detect_out_of_memory(child, exit_code)
        row = self.row_of(child)
        slot.failed_boots = slot.failed_boots + 1 if row.state is ProcessState.BOOTING else 0
        slot.early_exits = slot.early_exits + 1 if now - child.started < EARLY_EXIT_SECONDS else 0
        slot.restart_at = now + delay
        silence = silence_seconds(row, time.monotonic(), max(self.watched_since, child.started))
        log_exit(slot.role, slot.index, row, exit_code, silence)
        self._remove_child(slot, child)

    def _detect_out_of_memory(self, child: ChildProcess, exit_code: int) -> None:
        """A SIGKILL without a cause of ours, while the kernel's count of out-of-memory kills has grown."""
        if exit_code != -signal.SIGKILL:
            return
        kills, self._oom_kills = self._oom_kills, oom_kills()
        row = child.incarnation.row
        if self._oom_kills > kills and self.board.get(row, CAUSE) == Cause.NONE:
            self.board.set(row, CAUSE, Cause.OUT_OF_MEMORY)

    def _remove_child(self, slot: Slot, child: ChildProcess) -> None:
        self.board.set_exit(child.incarnation.row, child.exit_code or 0)
        child.kill_group()  # what its tasks have started ends with it
        child.close()
        slot.child = None
