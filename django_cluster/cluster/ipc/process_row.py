"""What a row of the scoreboard says about one process, and about the cluster as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ProcessState(IntEnum):
    """What a process does. Written by the process."""

    EMPTY = 0
    BOOTING = 1
    IDLE = 2
    BUSY = 3
    """Runs a task; the deadline holds only in this state."""
    STOPPING = 4


class ClusterPhase(IntEnum):
    """The phase of the whole cluster. Written by the sentinel."""

    STARTING = 0
    RUNNING = 1
    DRAINING = 2
    """The scheduler, the workers and the pusher stop."""
    CLOSING = 3
    """The monitor records the last outcomes."""
    STOPPED = 4


class ProcessCommand(IntEnum):
    """What a process is told to do. Written by the sentinel."""

    RUN = 0
    STOP = 1


class Cause(IntEnum):
    """Why the sentinel killed a process. Written by the sentinel, *before* it kills."""

    NONE = 0
    TIMEOUT = 1
    BOOT = 2
    SHUTDOWN = 3
    CRASH_LOOP = 4
    MEMORY = 5
    """Its task held more memory than ``max_rss_kill``."""
    OUT_OF_MEMORY = 6
    """The kernel's out-of-memory killer killed it (written afterwards)."""
    UNRESPONSIVE = 7
    """It made no progress for ``unresponsive_timeout``, outside a task."""
    CANCELLED = 8
    """Its task was cancelled, and had not ended ``kill_grace`` seconds later."""


@dataclass(frozen=True, slots=True)
class ScoreboardRow:
    """The values of a row at one moment."""

    incarnation: int
    pid: int
    state: ProcessState
    running: int
    """Number of the job that runs; 0 = none."""
    begun: int
    """Number of the last job that was begun."""
    done: int
    rss: int
    started: float
    deadline: float
    """``time.monotonic()`` at which the task exceeds its timeout; 0 = never."""
    command: ProcessCommand
    cause: Cause
    exit_code: int | None
    """Exit code; -n = killed by signal n; None while it lives."""
    peak_rss: int
    """The most resident memory (kB) that the sentinel has measured."""
    revoked: int
    role_code: int
    restart_request: int
    last_alive: float = 0.0
    """``time.monotonic()`` of the last heartbeat."""
    applied_pauses: int = 0
    in_flight: int = 0
    cancel_job: int = 0
    """Number of the job that is to be cancelled; 0 = none."""
    cancelled_at: float = 0.0
    """``time.monotonic()`` at which that was requested."""
    slots: int = 0
    """Slots of its table of concurrent jobs; 0 = it has none."""
    concurrent: int = 0
    """How many jobs run concurrently, beside ``running``."""
    concurrent_deadline: float = 0.0
    """The earliest ``deadline`` of these; 0 = none has one."""
    blocker: int = 0
    """Number of the job that blocks the event loop; 0 = none."""
    step_job: int = 0
    """Number of the job whose code the event loop executes; 0 = none."""
    step_since: float = 0.0
    """``time.monotonic()`` since which it does."""

    @property
    def is_cancelled(self) -> bool:
        """Whether the job that runs is to be cancelled."""
        return self.cancel_job != 0 and self.cancel_job == self.running and self.state is ProcessState.BUSY

    @property
    def overdue_at(self) -> float:
        """``time.monotonic()`` at which what runs should have ended: its time limit, or its cancellation; 0 = never."""
        moments = [self.concurrent_deadline if self.concurrent else 0.0]
        if self.state is ProcessState.BUSY:
            moments += [self.deadline, self.cancelled_at if self.is_cancelled else 0.0]
        return min(filter(None, moments), default=0.0)

    @property
    def busy(self) -> bool:
        """Whether anything runs."""
        return self.state is ProcessState.BUSY or self.concurrent > 0

    @property
    def shown_state(self) -> ProcessState:
        """``state``; busy, too, while only concurrent jobs run."""
        return ProcessState.BUSY if self.state is ProcessState.IDLE and self.concurrent else self.state
