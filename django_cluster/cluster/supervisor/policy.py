"""What the sentinel decides about a process: a pure function of an observation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from django_cluster.cluster.ipc.process_row import Cause, ProcessState, ScoreboardRow

EARLY_EXIT_SECONDS = 10.0
"""Seconds after its start within which an exit increases the delay of the next start."""
MAX_RESTART_DELAY = 1.0
"""Longest delay, in seconds, before a process is started again."""
MAX_RESTART_DELAY_AFTER_KILL = 0.1
"""Longest delay, in seconds, after a process that had been ready and was killed by a signal."""
MIN_SILENCE_SECONDS = 30.0
"""Least value, in seconds, of the default of ``unresponsive_timeout``."""
SILENCE_MARGIN_SECONDS = 5.0
"""Seconds of that default beyond twice a lease, which bounds every wait for a server."""
MAX_SILENCE_SECONDS_WHILE_STOPPING = 10.0
"""Seconds without progress after which a process is killed while the cluster stops."""
MAX_FAILED_BOOTS = 6
"""Exits in a row before a process was ready, after which the cluster stops."""
MAX_KILLED_BOOTS = 30
"""Exits in a row, all by signals, before a process was ready, after which the cluster stops."""

OUR_KILLS = (Cause.TIMEOUT, Cause.CANCELLED, Cause.MEMORY, Cause.UNRESPONSIVE)
"""Causes after which a process is replaced without a delay: it was its task, or its server."""


class Action(Enum):
    KEEP = "keep"
    KILL = "kill"
    REPLACE = "replace"
    STOP_CLUSTER = "stop cluster"


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    cause: Cause = Cause.NONE
    delay: float = 0.0
    """Seconds before a replacement is started."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a decision depends on."""

    row: ScoreboardRow
    exit_code: int | None
    """None while the process lives."""
    age: float
    """Seconds since it was started."""
    early_exits: int
    """How many processes of this slot in a row exited within ``EARLY_EXIT_SECONDS``, this one not counted."""
    failed_boots: int
    """How many of them in a row exited before they were ready, this one not counted."""
    rss: int = 0
    """Resident kilobytes; 0 where it is not measured."""
    silence: float = 0.0
    """Seconds without progress, see ``silence_seconds``."""


KEEP = Decision(Action.KEEP)


def decide(
    observation: Observation,
    now: float,
    *,
    grace: float,
    boot_timeout: float,
    max_rss: int | None = None,
    max_silence: float = math.inf,
) -> Decision:
    """Decide what is to be done about a process. ``now`` is monotonic.

    ``grace``: seconds between the soft and the hard timeout of a task, and between its cancellation and the kill.
    ``boot_timeout``: seconds. ``max_rss``: kB. ``max_silence``: seconds without progress after which a process that
    runs no task is killed.
    """
    row = observation.row
    if observation.exit_code is None:
        if row.overdue_at and now > row.overdue_at + grace:
            cancelled = row.is_cancelled and row.overdue_at == row.cancelled_at
            return Decision(Action.KILL, Cause.CANCELLED if cancelled else Cause.TIMEOUT)
        if row.busy and max_rss and observation.rss > max_rss:
            return Decision(Action.KILL, Cause.MEMORY)
        if row.state is ProcessState.BOOTING and observation.age > boot_timeout:
            return Decision(Action.KILL, Cause.BOOT)
        if row.state in (ProcessState.IDLE, ProcessState.STOPPING) and observation.silence > max_silence:
            return Decision(Action.KILL, Cause.UNRESPONSIVE)
        return KEEP
    if row.state is ProcessState.STOPPING and observation.exit_code == 0:
        return Decision(Action.REPLACE)
    hopeless = MAX_KILLED_BOOTS if observation.exit_code < 0 else MAX_FAILED_BOOTS
    if row.state is ProcessState.BOOTING and observation.failed_boots + 1 >= hopeless:
        return Decision(Action.STOP_CLUSTER)
    if row.cause in OUR_KILLS or observation.age >= EARLY_EXIT_SECONDS:
        return Decision(Action.REPLACE)
    was_killed = observation.exit_code < 0 and row.state is not ProcessState.BOOTING
    longest = MAX_RESTART_DELAY_AFTER_KILL if was_killed else MAX_RESTART_DELAY
    return Decision(Action.REPLACE, delay=min(restart_delay(observation.early_exits), longest))


def restart_delay(early_exits: int) -> float:
    """Seconds: 0 after the first early exit, then 0.05, doubled each time up to ``MAX_RESTART_DELAY``."""
    return 0.0 if early_exits == 0 else min(0.05 * 2 ** min(early_exits - 1, 16), MAX_RESTART_DELAY)


def silence_limit(lease: float, chosen: float | None, *, stopping: bool) -> float:
    """Seconds without progress after which a process that runs no task is killed.

    ``lease``: seconds of the longest lease of the cluster. ``chosen``: the setting, or None.
    """
    usual = max(2 * lease + SILENCE_MARGIN_SECONDS, MIN_SILENCE_SECONDS) if chosen is None else chosen
    return min(usual, MAX_SILENCE_SECONDS_WHILE_STOPPING) if stopping else usual


def silence_seconds(row: ScoreboardRow, now: float, watched_since: float) -> float:
    """Seconds without progress, as far as the sentinel was awake and the process had been started.

    ``watched_since``: when the child was started, or when the sentinel itself came back from a pause (the machine
    or the whole process group may have been suspended), whichever is later.
    """
    return max(0.0, now - max(row.last_alive, watched_since))
