"""What the sentinel decides about a child: a pure function of what it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from django_cluster.cluster.ipc.scoreboard import Cause, ProcessState, ScoreboardRow

EARLY_EXIT_SECONDS = 10.0
"""Seconds of life below which a death counts towards the growing delay."""
MAX_RESTART_DELAY = 1.0
"""Seconds; the longest pause before a slot is filled again."""
MAX_RESTART_DELAY_AFTER_KILL = 0.1
"""Seconds before the restart of a child that was ready and was killed."""
MIN_SILENCE_SECONDS = 30.0
"""Seconds without a sign of life, outside a task, that every child is allowed at least."""
SILENCE_MARGIN_SECONDS = 5.0
"""Seconds of silence beyond the longest wait for a server, which is bounded by twice a lease."""
MAX_SILENCE_SECONDS_WHILE_STOPPING = 10.0
"""Seconds of silence that end a child while the cluster stops: the stop has an end of its own."""
MAX_FAILED_BOOTS = 6
"""So many deaths in a row before a child was ready once, and the cluster gives up."""
MAX_KILLED_BOOTS = 30
"""Number of killed children before the cluster gives up; larger, because a kill says less about the next child."""


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
    """How often this slot's holders died young in a row, this one not counted."""
    failed_boots: int
    """How often in a row they died before they were ready once."""
    rss: int = 0
    """Resident kilobytes, where somebody wants to know."""
    silence: float = 0.0
    """Seconds without a sign of life for which the sentinel itself was watching."""


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
    """``now`` is monotonic; ``grace`` are the seconds between the soft and the hard limit; ``max_rss``: kB.

    ``max_silence``: seconds without a sign of life after which a child that runs no task is taken to hang.
    """
    row = observation.row
    if observation.exit_code is None:
        if row.state is ProcessState.BUSY and row.deadline and now > row.deadline + grace:
            return Decision(Action.KILL, Cause.TIMEOUT)
        if row.state is ProcessState.BUSY and max_rss and observation.rss > max_rss:
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
    if row.cause in (Cause.TIMEOUT, Cause.MEMORY, Cause.UNRESPONSIVE) or observation.age >= EARLY_EXIT_SECONDS:
        return Decision(Action.REPLACE)
    was_killed = observation.exit_code < 0 and row.state is not ProcessState.BOOTING
    longest = MAX_RESTART_DELAY_AFTER_KILL if was_killed else MAX_RESTART_DELAY
    return Decision(Action.REPLACE, delay=min(restart_delay(observation.early_exits), longest))


def restart_delay(early_exits: int) -> float:
    """None after the first, then 0.05 s doubling up to ``MAX_RESTART_DELAY``."""
    return 0.0 if early_exits == 0 else min(0.05 * 2 ** min(early_exits - 1, 16), MAX_RESTART_DELAY)


def silence_limit(lease: float, chosen: float | None, *, stopping: bool) -> float:
    """Seconds of silence after which a child counts as hung.

    ``lease``: seconds of the longest lease of the cluster. ``chosen``: the setting, or None.
    """
    usual = max(2 * lease + SILENCE_MARGIN_SECONDS, MIN_SILENCE_SECONDS) if chosen is None else chosen
    return min(usual, MAX_SILENCE_SECONDS_WHILE_STOPPING) if stopping else usual


def silence_seconds(row: ScoreboardRow, now: float, watched_since: float) -> float:
    """Seconds since the last heartbeat, as far as the sentinel was awake and the child ready to give one.

    ``watched_since``: when the child was started, or when the sentinel itself came back from a pause (the machine
    or the whole process group may have been suspended), whichever is later.
    """
    return max(0.0, now - max(row.last_alive, watched_since))
