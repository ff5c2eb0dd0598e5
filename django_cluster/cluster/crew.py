"""The crew: every slot, who sits in it, and the carrying out of verdicts.

The hands of the sentinel. It opens no connection and reads no task.
"""

from __future__ import annotations

import logging
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

from django_cluster.brokers import needs_waiting_room
from django_cluster.cluster.entry import enter, preload
from django_cluster.cluster.guard import YOUNG, Seen, Verdict, judge, max_silence_of, silence_of
from django_cluster.cluster.host import (
    adopts_orphans,
    oom_kills,
    reap_adopted,
    resident_kilobytes,
    share_of_cpus,
    usable_cpus,
)
from django_cluster.cluster.private_folder import PrivateFolder
from django_cluster.cluster.scoreboard import (
    CAUSE,
    ORDER,
    PEAK,
    RESTARTS,
    UNTIL_EMPTY,
    Cause,
    Order,
    Row,
    State,
)
from django_cluster.cluster.seat import Role, Seat, name_of
from django_cluster.cluster.until_empty import all_done
from django_cluster.core.settings import Settings

logger = logging.getLogger("django_cluster")

SPARE_ROWS = 32
"""Rows of dead children that stay readable before one is used again."""
TO_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that reach the whole process group, and are the sentinel's alone."""
START_ORDER = (Role.MONITOR, Role.PUSHER, Role.WORKER, Role.SCHEDULER)


@dataclass(eq=False)
class Slot:
    """A place in the crew, which outlives its holders."""

    role: Role
    index: int
    process: BaseProcess | None = None
    pipe: Connection | None = None
    seat: Seat | None = None
    started: float = 0.0
    young_deaths: int = 0
    failed_boots: int = 0
    refill_at: float = 0.0
    """Monotonic time before which an empty slot is not filled."""
    told_to_leave: bool = False
    mute: bool = False
    """It lives, and its descriptor says that it has ended: a task has closed everything."""
    retired: bool = False
    """It will not be filled again."""

    @property
    def name(self) -> str:
        return name_of(self.role, self.index)

    @property
    def empty(self) -> bool:
        return self.process is None


@dataclass
class Crew:
    """All slots of one cluster. ``launch`` and ``disband`` frame its life."""

    settings: Settings
    scheduler_only: bool = False
    """Whether nothing is taken from the queue: there is no pusher and no worker."""
    until_empty: bool = False
    """Whether children say when they have nothing left to do (``idle``)."""
    slots: list[Slot] = field(init=False)
    restarts: int = 0

    def __post_init__(self) -> None:
        scheduling = self.settings.schedule.enabled or any(
            needs_waiting_room(section) for section in self.settings.sections
        )
        counts = {Role.WORKER: self.settings.crew.workers, Role.SCHEDULER: int(scheduling)}
        if self.scheduler_only:
            counts |= {Role.WORKER: 0, Role.PUSHER: 0}
        self.slots = [Slot(role, index) for role in START_ORDER for index in range(counts.get(role, 1))]
        self._context: Any = multiprocessing.get_context(self.settings.crew.start_method)
        self._forks = self.settings.crew.start_method == "fork"
        self._cpus = usable_cpus()
        self._oom_kills = oom_kills()
        self._lease = max(section.lease for section in self.settings.sections)
        self.watched_since = 0.0
        """Monotonic time since which the sentinel has looked at its children without a gap."""
        self.stopping = False
        """Whether the cluster stops; a child that hangs is then ended sooner."""
        self._seat_number = 0
        self._next_row = 0
        self._adopts = adopts_orphans()
        self._private: PrivateFolder | None = None
        self._folder_lost = False

    # ── life ─────────────────────────────────────────────────────────────────────────────────────

    def launch(self) -> None:
        """Make the private folder and fill every slot. Raises ``ClusterError`` where there is no room for it."""
        rows = len(self.slots) + SPARE_ROWS
        self._private = PrivateFolder(rows)
        self.folder, self.board = self._private.folder, self._private.board
        self.board.launch(os.getpid(), time.time())
        self.board.set_cluster(UNTIL_EMPTY, int(self.until_empty))
        if self._forks:
            preload(self.settings)
        elif self.settings.crew.start_method == "forkserver":
            start_forkserver()
        for slot in self.slots:
            self.fill(slot)

    def disband(self) -> None:
        """End whoever is left, and leave nothing behind."""
        for slot in self.slots:
            if slot.process is not None:
                self._kill(slot)
                slot.process.join()
                self._empty(slot)
        if self._private is not None:
            self._private.close()

    def keep_folder(self) -> None:
        """Make the private folder again when somebody has removed it: the next child needs it."""
        if self._private is None or not self._private.is_lost():
            return
        try:
            self._private.restore()
        except OSError as error:
            if not self._folder_lost:
                logger.critical(
                    "Private folder %s removed by another program and not restored: %s", self.folder.path, error,
                    extra={"event": "private_folder_lost"},
                )  # fmt: skip
            self._folder_lost = True
        else:
            self._folder_lost = False
            logger.warning(
                "Private folder %s restored: another program had removed it", self.folder.path,
                extra={"event": "private_folder_restored"},
            )  # fmt: skip

    def reap_adopted(self) -> None:
        """What the tasks' programs have left behind becomes our child when we are the first process of a container."""
        if self._adopts:
            own = [process.pid for process in multiprocessing.active_children()]
            for helper in (forkserver._forkserver, resource_tracker._resource_tracker):
                own += [getattr(helper, name, None) for name in ("_forkserver_pid", "_pid")]
            reap_adopted(own)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def of(self, *roles: Role) -> Iterator[Slot]:
        return (slot for slot in self.slots if slot.role in roles)

    def row_of(self, slot: Slot) -> Row:
        assert slot.seat is not None
        return self.board.read(slot.seat.row)

    @property
    def ready(self) -> bool:
        """Whether every child has finished booting."""
        return all(slot.seat and self.row_of(slot).state is not State.BOOTING for slot in self.slots)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do, where the cluster works until its queue is empty."""

        def moments(*roles: Role) -> list[float]:
            seats = [None if slot.empty else slot.seat for slot in self.of(*roles)]
            return [0.0 if seat is None else self.board.idle_since(seat.row) for seat in seats]

        return all_done(moments(Role.PUSHER), moments(Role.MONITOR, Role.SCHEDULER))

    def sentinels(self) -> list[int]:
        """Descriptors that become readable when a child ends."""
        return [slot.process.sentinel for slot in self.slots if slot.process is not None and not slot.mute]

    def heed(self, awake: Container[object]) -> None:
        """Look no longer at the descriptor of a child that lives: it would stay readable, and the sentinel awake.

        The end of such a child is told by SIGCHLD.
        """
        for slot in self.slots:
            if slot.process is not None and slot.process.sentinel in awake:
                slot.mute = slot.process.exitcode is None

    def examine(self, slot: Slot, now: float) -> Verdict:
        """What is to be done about a filled slot."""
        assert slot.process is not None
        crew, row = self.settings.crew, self.row_of(slot)
        silence = silence_of(row, now, max(self.watched_since, slot.started))
        seen = Seen(
            row,
            self._exit_of(slot),
            now - slot.started,
            slot.young_deaths,
            slot.failed_boots,
            self._weigh(slot, row),
            silence,
        )
        return judge(
            seen,
            now,
            grace=crew.timeout_grace,
            boot_timeout=crew.boot_timeout,
            max_rss=crew.max_rss_kill,
            max_silence=max_silence_of(self._lease, crew.unresponsive_timeout, stopping=self.stopping),
        )

    def _weigh(self, slot: Slot, row: Row) -> int:
        """Resident kilobytes of a worker that runs a task; the peak is noted for its obituary."""
        if slot.role is not Role.WORKER or row.state is not State.BUSY:
            return 0
        assert slot.seat is not None
        rss = resident_kilobytes(row.pid)
        self.board.set(slot.seat.row, PEAK, max(rss, row.peak))
        return rss

    def next_deadline(self) -> float | None:
        """The monotonic time of the earliest hard limit of a running task."""
        rows = [self.row_of(slot) for slot in self.of(Role.WORKER, Role.NOTIFIER) if not slot.empty]
        deadlines = [row.deadline for row in rows if row.state is State.BUSY and row.deadline]
        return min(deadlines) + self.settings.crew.timeout_grace if deadlines else None

    def _exit_of(self, slot: Slot) -> int | None:
        assert slot.process is not None
        return slot.process.exitcode

    # ── acting ───────────────────────────────────────────────────────────────────────────────────

    def fill(self, slot: Slot) -> None:
        """Start a new life in an empty slot."""
        seat = self._new_seat(slot)
        self.board.clear(seat.row, seat.number, seat.post)
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=enter,
            args=(seat, self.settings, reader, self._foreign(writer)),
            name=seat.name,
            daemon=self.settings.crew.daemonize,
        )
        slot.seat, slot.pipe, slot.process = seat, writer, process
        slot.started, slot.told_to_leave, slot.mute = time.monotonic(), False, False
        process.start()
        reader.close()

    def _new_seat(self, slot: Slot) -> Seat:
        self._seat_number += 1
        worker = slot.role is Role.WORKER
        cpus = share_of_cpus(slot.index, self.settings.crew.cpu_affinity, self._cpus) if worker else []
        own_group = slot.role in (Role.WORKER, Role.NOTIFIER) and not self.settings.crew.daemonize
        return Seat(slot.role, slot.index, self._seat_number, self._free_row(), self.folder, tuple(cpus), own_group)

    def _free_row(self) -> int:
        """The row that has been out of use for the longest time."""
        taken = {slot.seat.row for slot in self.slots if slot.seat is not None and not slot.empty}
        while True:
            row = self._next_row
            self._next_row = (self._next_row + 1) % self.folder.rows
            if row not in taken:
                return row

    def _foreign(self, own_writer: Connection) -> tuple[int, ...]:
        """What a forked child must close: the sentinel's ends of all pipes, its own included.

        A copy of such an end in a sibling would hide the death of the sentinel.
        """
        if not self._forks:
            return ()
        board = () if self.board.descriptor is None else (self.board.descriptor,)
        return (*board, own_writer.fileno(), *(slot.pipe.fileno() for slot in self.slots if slot.pipe is not None))

    def count_restart(self) -> None:
        self.restarts += 1
        self.board.set_cluster(RESTARTS, self.restarts)

    def tell_to_leave(self, *roles: Role) -> None:
        for slot in self.of(*roles):
            self._tell(slot)

    def _tell(self, slot: Slot) -> None:
        if slot.seat is None or slot.pipe is None or slot.told_to_leave:
            return
        slot.told_to_leave = True
        self.board.set(slot.seat.row, ORDER, Order.LEAVE)
        with suppress(OSError):
            os.write(slot.pipe.fileno(), b"!")

    def renew_workers(self) -> None:
        """Every worker leaves after its present task and is replaced."""
        logger.info(
            "Replacing all workers (SIGHUP); modules that the cluster has imported stay as they are,"
            " restart the cluster to deploy new code",
            extra={"event": "workers_replaced"},
        )
        self.tell_to_leave(Role.WORKER, Role.NOTIFIER)

    def recycle(self, slot: Slot) -> None:
        """An operator may want this life replaced by another, after its present task."""
        if slot.seat is None or slot.told_to_leave or self.row_of(slot).recycle != slot.seat.number:
            return
        logger.info("%s is being replaced, as an operator wants.", slot.name)
        self._tell(slot)

    def add_notifier(self) -> None:
        """The monitor has something for it to call; there is one at most."""
        self.slots.append(Slot(Role.NOTIFIER, 0))

    def add_worker(self) -> None:
        if self.scheduler_only:
            logger.warning("Ignoring TTIN: this cluster runs the scheduler only")
            return
        taken = {slot.index for slot in self.of(Role.WORKER)}
        slot = Slot(Role.WORKER, min(set(range(len(taken) + 1)) - taken))
        self.slots.append(slot)
        logger.info("One more worker; now there are %d.", len(taken) + 1)

    def retire_worker(self) -> None:
        """The last worker leaves after its present task; one always stays."""
        staying = [slot for slot in self.of(Role.WORKER) if not slot.retired]
        if len(staying) < 2 and not self.scheduler_only:
            logger.warning("The last worker stays.")
        if len(staying) < 2:
            return
        staying[-1].retired = True
        self._tell(staying[-1])
        logger.info("One worker less; now there are %d.", len(staying) - 1)

    def kill(self, slot: Slot, cause: Cause) -> None:
        """SIGKILL, after writing why: the monitor must be able to say so."""
        assert slot.seat is not None
        self.board.set(slot.seat.row, CAUSE, cause)
        self._kill(slot)

    def _kill(self, slot: Slot) -> None:
        assert slot.process is not None
        assert slot.seat is not None
        pid = slot.process.pid
        if slot.seat.own_group and pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        slot.process.kill()

    def clear_away(self, slot: Slot, verdict: Verdict, now: float) -> None:
        """A holder has ended: note how, and decide when the slot may be filled again."""
        exitcode = self._exit_of(slot)
        assert exitcode is not None
        self._blame_the_kernel(slot, exitcode)
        row = self.row_of(slot)
        unready = row.state is State.BOOTING
        slot.failed_boots = slot.failed_boots + 1 if unready else 0
        slot.young_deaths = slot.young_deaths + 1 if now - slot.started < YOUNG else 0
        slot.refill_at = now + verdict.delay
        self._log_end(slot, exitcode, row)
        self._empty(slot)

    def _empty(self, slot: Slot) -> None:
        assert slot.process is not None
        assert slot.seat is not None
        assert slot.pipe is not None
        self.board.set_exit(slot.seat.row, slot.process.exitcode or 0)
        if slot.seat.own_group and slot.process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):  # what its tasks have started goes with it
                os.killpg(slot.process.pid, signal.SIGKILL)
        slot.process.close()
        slot.pipe.close()
        slot.process = slot.pipe = None

    def _blame_the_kernel(self, slot: Slot, exitcode: int) -> None:
        """A SIGKILL that nobody here sent, and the kernel's count of those it killed has grown."""
        if exitcode != -signal.SIGKILL:
            return
        assert slot.seat is not None
        kills, self._oom_kills = self._oom_kills, oom_kills()
        if self._oom_kills > kills and self.board.get(slot.seat.row, CAUSE) == Cause.NONE:
            self.board.set(slot.seat.row, CAUSE, Cause.OUT_OF_MEMORY)

    def _log_end(self, slot: Slot, exitcode: int, row: Row) -> None:
        if row.state is State.LEAVING and exitcode == 0:
            logger.debug("%s (%d) has left.", slot.name, row.pid)
        elif row.cause is Cause.TIMEOUT:
            what = "a hook or receiver" if slot.role is Role.NOTIFIER else "its task"
            logger.warning("%s (%d) was killed: %s overran its time limit.", slot.name, row.pid, what)
        elif row.cause is Cause.MEMORY:
            logger.warning("%s (%d) was killed: its task held %d kB of memory.", slot.name, row.pid, row.peak)
        elif row.cause is Cause.UNRESPONSIVE:
            logger.error(
                "%s (pid %d) killed: unresponsive, no sign of life for %.0f s outside a task",
                slot.name, row.pid, max(0.0, time.monotonic() - max(row.tick, self.watched_since, slot.started)),
                extra={"event": "process_unresponsive"},
            )  # fmt: skip
        elif row.cause is Cause.BOOT:
            logger.error("%s (%d) was killed: it was not ready within boot_timeout.", slot.name, row.pid)
        elif row.cause in (Cause.SHUTDOWN, Cause.STUCK):
            logger.info("%s (%d) was ended with the cluster.", slot.name, row.pid)
        else:
            how = f"was killed by signal {-exitcode}" if exitcode < 0 else f"ended with exit code {exitcode}"
            logger.error("%s (%d) %s.", slot.name, row.pid, how)


def start_forkserver() -> None:
    """Start it deaf to ``TO_ALL``: as the parent of every child it would take them all with it.

    A blocked signal stays blocked in what is started; each child unblocks it for itself.
    """
    resource_tracker.ensure_running()  # first, because it meddles with the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_ALL)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
