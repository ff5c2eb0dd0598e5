"""The crew: every slot, who sits in it, and the carrying out of verdicts.

The hands of the sentinel. It opens no connection and reads no task.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from django_cluster.brokers import needs_delay_queue
from django_cluster.cluster.bootstrap.entry import run_process, warm_up_before_fork
from django_cluster.cluster.bootstrap.host import (
    adopts_orphans,
    oom_kills,
    reap_adopted,
    resident_kilobytes,
    share_of_cpus,
    usable_cpus,
)
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole, process_name
from django_cluster.cluster.ipc.scoreboard import (
    CAUSE,
    COMMAND,
    PEAK_RSS,
    RESTARTS,
    UNTIL_EMPTY,
    Cause,
    ProcessCommand,
    ProcessState,
    ScoreboardRow,
)
from django_cluster.cluster.roles.idleness import is_cluster_idle
from django_cluster.cluster.supervisor.policy import (
    EARLY_EXIT_SECONDS,
    Decision,
    Observation,
    decide,
    silence_limit,
    silence_seconds,
)
from django_cluster.cluster.supervisor.runtime_dir import RuntimeDirOwner
from django_cluster.core.events.cluster import (
    RUNTIME_DIR_LOST,
    RUNTIME_DIR_RESTORED,
    SIGNAL_IGNORED,
    WORKER_ADDED,
    WORKER_REMOVED,
    WORKER_RESTART_REQUESTED,
    WORKERS_RESTARTING,
)
from django_cluster.core.events.processes import (
    PROCESS_ENDED_WITH_CLUSTER,
    PROCESS_EXITED,
    PROCESS_LOST,
    PROCESS_NOT_READY,
    PROCESS_UNRESPONSIVE,
    WORKER_KILLED,
    WORKER_LOST,
)
from django_cluster.core.settings import Settings

SPARE_ROWS = 32
"""Rows of dead children that stay readable before one is used again."""
SENTINEL_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that reach the whole process group, and are the sentinel's alone."""
START_ORDER = (ProcessRole.MONITOR, ProcessRole.PUSHER, ProcessRole.WORKER, ProcessRole.SCHEDULER)


@dataclass(eq=False)
class Slot:
    """A place in the crew, which outlives its holders."""

    role: ProcessRole
    index: int
    process: BaseProcess | None = None
    pipe: Connection | None = None
    incarnation: Incarnation | None = None
    started: float = 0.0
    early_exits: int = 0
    failed_boots: int = 0
    restart_at: float = 0.0
    """Monotonic time before which an empty slot is not filled."""
    stop_requested: bool = False
    mute: bool = False
    """It lives, and its descriptor says that it has ended: a task has closed everything."""
    removed: bool = False
    """It will not be filled again."""

    @property
    def name(self) -> str:
        return process_name(self.role, self.index)

    @property
    def empty(self) -> bool:
        return self.process is None


@dataclass
class ProcessPool:
    """All slots of one cluster. ``launch`` and ``close`` frame its life."""

    settings: Settings
    scheduler_only: bool = False
    """Whether nothing is taken from the queue: there is no pusher and no worker."""
    until_empty: bool = False
    """Whether children say when they have nothing left to do (``idle``)."""
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
        self._cpus = usable_cpus()
        self._oom_kills = oom_kills()
        self._lease = max(section.lease for section in self.settings.broker_sections)
        self.watched_since = 0.0
        """Monotonic time since which the sentinel has looked at its children without a gap."""
        self.stopping = False
        """Whether the cluster stops; a child that hangs is then ended sooner."""
        self._incarnation_number = 0
        self._next_row = 0
        self._adopts = adopts_orphans()
        self._runtime_dir_owner: RuntimeDirOwner | None = None
        self._runtime_dir_lost = False

    # ── life ─────────────────────────────────────────────────────────────────────────────────────

    def launch(self) -> None:
        """Make the runtime directory and start_child every slot. Raises ``ClusterError`` where there is no room for it."""
        rows = len(self.slots) + SPARE_ROWS
        self._runtime_dir_owner = RuntimeDirOwner(rows)
        self.runtime_dir, self.board = self._runtime_dir_owner.runtime_dir, self._runtime_dir_owner.board
        self.board.record_launch(os.getpid(), time.time())
        self.board.set_cluster_word(UNTIL_EMPTY, int(self.until_empty))
        if self._forks:
            warm_up_before_fork(self.settings)
        elif self.settings.processes.start_method == "forkserver":
            start_forkserver()
        for slot in self.slots:
            self.start_child(slot)

    def close(self) -> None:
        """End whoever is left, and leave nothing behind."""
        for slot in self.slots:
            if slot.process is not None:
                self._kill(slot)
                slot.process.join()
                self._empty(slot)
        if self._runtime_dir_owner is not None:
            self._runtime_dir_owner.close()

    def keep_runtime_dir(self) -> None:
        """Make the runtime directory again when somebody has removed it: the next child needs it."""
        if self._runtime_dir_owner is None or not self._runtime_dir_owner.is_lost():
            return
        try:
            self._runtime_dir_owner.restore()
        except OSError as error:
            if not self._runtime_dir_lost:
                RUNTIME_DIR_LOST.log(path=self.runtime_dir.path, error=error)
            self._runtime_dir_lost = True
        else:
            self._runtime_dir_lost = False
            RUNTIME_DIR_RESTORED.log(path=self.runtime_dir.path)

    def reap_adopted(self) -> None:
        """What the tasks' programs have left behind becomes our child when we are the first process of a container."""
        if self._adopts:
            own = [process.pid for process in multiprocessing.active_children()]
            for helper in (forkserver._forkserver, resource_tracker._resource_tracker):
                own += [getattr(helper, name, None) for name in ("_forkserver_pid", "_pid")]
            reap_adopted(own)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def of(self, *roles: ProcessRole) -> Iterator[Slot]:
        return (slot for slot in self.slots if slot.role in roles)

    def row_of(self, slot: Slot) -> ScoreboardRow:
        assert slot.incarnation is not None
        return self.board.read(slot.incarnation.row)

    @property
    def ready(self) -> bool:
        """Whether every child has finished booting."""
        return all(slot.incarnation and self.row_of(slot).state is not ProcessState.BOOTING for slot in self.slots)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do, where the cluster works until its queue is empty."""

        def moments(*roles: ProcessRole) -> list[float]:
            incarnations = [None if slot.empty else slot.incarnation for slot in self.of(*roles)]
            return [
                0.0 if incarnation is None else self.board.idle_since(incarnation.row) for incarnation in incarnations
            ]

        return is_cluster_idle(moments(ProcessRole.PUSHER), moments(ProcessRole.MONITOR, ProcessRole.SCHEDULER))

    def sentinels(self) -> list[int]:
        """Descriptors that become readable when a child ends."""
        return [slot.process.sentinel for slot in self.slots if slot.process is not None and not slot.mute]

    def mute_living(self, awake: Container[object]) -> None:
        """Look no longer at the descriptor of a child that lives: it would stay readable, and the sentinel awake.

        The end of such a child is told by SIGCHLD.
        """
        for slot in self.slots:
            if slot.process is not None and slot.process.sentinel in awake:
                slot.mute = slot.process.exitcode is None

    def decide_on(self, slot: Slot, now: float) -> Decision:
        """What is to be done about a filled slot."""
        assert slot.process is not None
        crew, row = self.settings.processes, self.row_of(slot)
        silence = silence_seconds(row, now, max(self.watched_since, slot.started))
        observation = Observation(
            row,
            self._exit_of(slot),
            now - slot.started,
            slot.early_exits,
            slot.failed_boots,
            self._measure_memory(slot, row),
            silence,
        )
        return decide(
            observation,
            now,
            grace=crew.kill_grace,
            boot_timeout=crew.boot_timeout,
            max_rss=crew.max_rss_kill,
            max_silence=silence_limit(self._lease, crew.unresponsive_timeout, stopping=self.stopping),
        )

    def _measure_memory(self, slot: Slot, row: ScoreboardRow) -> int:
        """Resident kilobytes of a worker that runs a task; the peak is noted for its obituary."""
        if slot.role is not ProcessRole.WORKER or row.state is not ProcessState.BUSY:
            return 0
        assert slot.incarnation is not None
        rss = resident_kilobytes(row.pid)
        self.board.set(slot.incarnation.row, PEAK_RSS, max(rss, row.peak_rss))
        return rss

    def next_deadline(self) -> float | None:
        """The monotonic time of the earliest hard limit of a running task."""
        rows = [self.row_of(slot) for slot in self.of(ProcessRole.WORKER, ProcessRole.NOTIFIER) if not slot.empty]
        deadlines = [row.deadline for row in rows if row.state is ProcessState.BUSY and row.deadline]
        return min(deadlines) + self.settings.processes.kill_grace if deadlines else None

    def _exit_of(self, slot: Slot) -> int | None:
        assert slot.process is not None
        return slot.process.exitcode

    # ── acting ───────────────────────────────────────────────────────────────────────────────────

    def start_child(self, slot: Slot) -> None:
        """Start a new life in an empty slot."""
        incarnation = self._new_incarnation(slot)
        self.board.reset_row(incarnation.row, incarnation.number, incarnation.role_code)
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=run_process,
            args=(incarnation, self.settings, reader, self._inherited_descriptors(writer)),
            name=incarnation.name,
            daemon=self.settings.processes.daemonize,
        )
        slot.incarnation, slot.pipe, slot.process = incarnation, writer, process
        slot.started, slot.stop_requested, slot.mute = time.monotonic(), False, False
        process.start()
        reader.close()

    def _new_incarnation(self, slot: Slot) -> Incarnation:
        self._incarnation_number += 1
        worker = slot.role is ProcessRole.WORKER
        cpus = share_of_cpus(slot.index, self.settings.processes.cpu_affinity, self._cpus) if worker else []
        own_group = slot.role in (ProcessRole.WORKER, ProcessRole.NOTIFIER) and not self.settings.processes.daemonize
        return Incarnation(
            slot.role, slot.index, self._incarnation_number, self._free_row(), self.runtime_dir, tuple(cpus), own_group
        )

    def _free_row(self) -> int:
        """The row that has been out of use for the longest time."""
        taken = {slot.incarnation.row for slot in self.slots if slot.incarnation is not None and not slot.empty}
        while True:
            row = self._next_row
            self._next_row = (self._next_row + 1) % self.runtime_dir.rows
            if row not in taken:
                return row

    def _inherited_descriptors(self, own_writer: Connection) -> tuple[int, ...]:
        """What a forked child must close: the sentinel's ends of all pipes, its own included.

        A copy of such an end in a sibling would hide the death of the sentinel.
        """
        if not self._forks:
            return ()
        board = () if self.board.descriptor is None else (self.board.descriptor,)
        return (*board, own_writer.fileno(), *(slot.pipe.fileno() for slot in self.slots if slot.pipe is not None))

    def count_restart(self) -> None:
        self.restarts += 1
        self.board.set_cluster_word(RESTARTS, self.restarts)

    def request_stop(self, *roles: ProcessRole) -> None:
        for slot in self.of(*roles):
            self._request_stop(slot)

    def _request_stop(self, slot: Slot) -> None:
        if slot.incarnation is None or slot.pipe is None or slot.stop_requested:
            return
        slot.stop_requested = True
        self.board.set(slot.incarnation.row, COMMAND, ProcessCommand.STOP)
        with suppress(OSError):
            os.write(slot.pipe.fileno(), b"!")

    def restart_workers(self) -> None:
        """Every worker leaves after its present task and is replaced."""
        WORKERS_RESTARTING.log()
        self.request_stop(ProcessRole.WORKER, ProcessRole.NOTIFIER)

    def restart_if_requested(self, slot: Slot) -> None:
        """An operator may want this life replaced by another, after its present task."""
        if (
            slot.incarnation is None
            or slot.stop_requested
            or self.row_of(slot).restart_request != slot.incarnation.number
        ):
            return
        WORKER_RESTART_REQUESTED.log(process_name=slot.name)
        self._request_stop(slot)

    def add_notifier(self) -> None:
        """The monitor has something for it to call; there is one at most."""
        self.slots.append(Slot(ProcessRole.NOTIFIER, 0))

    def add_worker(self) -> None:
        if self.scheduler_only:
            SIGNAL_IGNORED.log(signal="TTIN", reason="this cluster runs the scheduler only")
            return
        taken = {slot.index for slot in self.of(ProcessRole.WORKER)}
        slot = Slot(ProcessRole.WORKER, min(set(range(len(taken) + 1)) - taken))
        self.slots.append(slot)
        WORKER_ADDED.log(workers=len(taken) + 1)

    def remove_worker(self) -> None:
        """The last worker leaves after its present task; one always stays."""
        remaining = [slot for slot in self.of(ProcessRole.WORKER) if not slot.removed]
        if len(remaining) < 2 and not self.scheduler_only:
            SIGNAL_IGNORED.log(signal="TTOU", reason="at least one worker is required")
        if len(remaining) < 2:
            return
        remaining[-1].removed = True
        self._request_stop(remaining[-1])
        WORKER_REMOVED.log(workers=len(remaining) - 1)

    def kill(self, slot: Slot, cause: Cause) -> None:
        """SIGKILL, after writing why: the monitor must be able to say so."""
        assert slot.incarnation is not None
        self.board.set(slot.incarnation.row, CAUSE, cause)
        self._kill(slot)

    def _kill(self, slot: Slot) -> None:
        assert slot.process is not None
        assert slot.incarnation is not None
        pid = slot.process.pid
        if slot.incarnation.own_group and pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        slot.process.kill()

    def handle_exit(self, slot: Slot, decision: Decision, now: float) -> None:
        """A holder has ended: note how, and decide when the slot may be filled again."""
        exitcode = self._exit_of(slot)
        assert exitcode is not None
        self._detect_out_of_memory(slot, exitcode)
        row = self.row_of(slot)
        unready = row.state is ProcessState.BOOTING
        slot.failed_boots = slot.failed_boots + 1 if unready else 0
        slot.early_exits = slot.early_exits + 1 if now - slot.started < EARLY_EXIT_SECONDS else 0
        slot.restart_at = now + decision.delay
        self._log_end(slot, exitcode, row)
        self._empty(slot)

    def _empty(self, slot: Slot) -> None:
        assert slot.process is not None
        assert slot.incarnation is not None
        assert slot.pipe is not None
        self.board.set_exit(slot.incarnation.row, slot.process.exitcode or 0)
        if slot.incarnation.own_group and slot.process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):  # what its tasks have started goes with it
                os.killpg(slot.process.pid, signal.SIGKILL)
        slot.process.close()
        slot.pipe.close()
        slot.process = slot.pipe = None

    def _detect_out_of_memory(self, slot: Slot, exitcode: int) -> None:
        """A SIGKILL that nobody here sent, and the kernel's count of those it killed has grown."""
        if exitcode != -signal.SIGKILL:
            return
        assert slot.incarnation is not None
        kills, self._oom_kills = self._oom_kills, oom_kills()
        if self._oom_kills > kills and self.board.get(slot.incarnation.row, CAUSE) == Cause.NONE:
            self.board.set(slot.incarnation.row, CAUSE, Cause.OUT_OF_MEMORY)

    def _log_end(self, slot: Slot, exitcode: int, row: ScoreboardRow) -> None:
        if row.state is ProcessState.STOPPING and exitcode == 0:
            PROCESS_EXITED.log(process_name=slot.name, pid=row.pid)
        elif row.cause is Cause.TIMEOUT:
            what = "a hook or receiver" if slot.role is ProcessRole.NOTIFIER else "its task"
            WORKER_KILLED.log(process_name=slot.name, pid=row.pid, reason=f"{what} exceeded its time limit")
        elif row.cause is Cause.MEMORY:
            WORKER_KILLED.log(process_name=slot.name, pid=row.pid, reason=f"its task held {row.peak_rss} kB of memory")
        elif row.cause is Cause.UNRESPONSIVE:
            last = max(row.last_alive, self.watched_since, slot.started)
            PROCESS_UNRESPONSIVE.log(process_name=slot.name, pid=row.pid, seconds=max(0.0, time.monotonic() - last))
        elif row.cause is Cause.BOOT:
            PROCESS_NOT_READY.log(process_name=slot.name, pid=row.pid)
        elif row.cause in (Cause.SHUTDOWN, Cause.CRASH_LOOP):
            PROCESS_ENDED_WITH_CLUSTER.log(process_name=slot.name, pid=row.pid)
        else:
            how = f"was killed by signal {-exitcode}" if exitcode < 0 else f"ended with exit code {exitcode}"
            event = WORKER_LOST if slot.role in (ProcessRole.WORKER, ProcessRole.NOTIFIER) else PROCESS_LOST
            event.log(process_name=slot.name, pid=row.pid, reason=how, exit_code=exitcode)


def start_forkserver() -> None:
    """Start it deaf to ``SENTINEL_SIGNALS``: as the parent of every child it would take them all with it.

    A blocked signal stays blocked in what is started; each child unblocks it for itself.
    """
    resource_tracker.ensure_running()  # first, because it meddles with the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SENTINEL_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
