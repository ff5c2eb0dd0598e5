"""What the sentinel decides about a child: a pure function of what it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from django_cluster.cluster.scoreboard import Cause, Row, State

YOUNG = 10.0
"""Seconds of life below which a death counts towards the growing delay."""
MAX_DELAY = 1.0
"""Seconds; the longest pause before a slot is filled again."""
MAX_DELAY_KILLED = 0.1
"""The same after a child that had been ready and was killed: what it did is unfinished, and not its fault."""
MIN_SILENCE = 30.0
"""Seconds without a sign of life, outside a task, that every child is allowed at least."""
SILENCE_MARGIN = 5.0
"""Seconds of silence beyond the longest wait for a server, which is bounded by twice a lease."""
MAX_SILENCE_STOPPING = 10.0
"""Seconds of silence that end a child while the cluster stops: the stop has an end of its own."""
HOPELESS = 6
"""So many deaths in a row before a child was ready once, and the cluster gives up."""
HOPELESS_KILLED = 30
"""The same for children that somebody killed: that says less about whether the next one will live."""


class Action(Enum):
    KEEP = "keep"
    KILL = "kill"
    REPLACE = "replace"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Verdict:
    action: Action
    cause: Cause = Cause.NONE
    delay: float = 0.0
    """Seconds before a replacement is started."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a verdict depends on."""

    row: Row
    exit: int | None
    """None while the process lives."""
    age: float
    """Seconds since it was started."""
    young_deaths: int
    """How often this slot's holders died young in a row, this one not counted."""
    failed_boots: int
    """How often in a row they died before they were ready once."""
    rss: int = 0
    """Resident kilobytes, where somebody wants to know."""
    silence: float = 0.0
    """Seconds without a sign of life for which the sentinel itself was watching."""


KEEP = Verdict(Action.KEEP)


def judge(
    seen: Seen,
    now: float,
    *,
    grace: float,
    boot_timeout: float,
    max_rss: int | None = None,
    max_silence: float = math.inf,
) -> Verdict:
    """``now`` is monotonic; ``grace`` are the seconds between the soft and the hard limit; ``max_rss``: kB.

    ``max_silence``: seconds without a sign of life after which a child that runs no task is taken to hang.
    """
    row = seen.row
    if seen.exit is None:
        if row.state is State.BUSY and row.deadline and now > row.deadline + grace:
            return Verdict(Action.KILL, Cause.TIMEOUT)
        if row.state is State.BUSY and max_rss and seen.rss > max_rss:
            return Verdict(Action.KILL, Cause.MEMORY)
        if row.state is State.BOOTING and seen.age > boot_timeout:
            return Verdict(Action.KILL, Cause.BOOT)
        if row.state in (State.IDLE, State.LEAVING) and seen.silence > max_silence:
            return Verdict(Action.KILL, Cause.UNRESPONSIVE)
        return KEEP
    if row.state is State.LEAVING and seen.exit == 0:
        return Verdict(Action.REPLACE)
    hopeless = HOPELESS_KILLED if seen.exit < 0 else HOPELESS
    if row.state is State.BOOTING and seen.failed_boots + 1 >= hopeless:
        return Verdict(Action.GIVE_UP)
    if row.cause in (Cause.TIMEOUT, Cause.MEMORY, Cause.UNRESPONSIVE) or seen.age >= YOUNG:
        return Verdict(Action.REPLACE)
    was_killed = seen.exit < 0 and row.state is not State.BOOTING
    longest = MAX_DELAY_KILLED if was_killed else MAX_DELAY
    return Verdict(Action.REPLACE, delay=min(delay_after(seen.young_deaths), longest))


def delay_after(young_deaths: int) -> float:
    """None after the first, then 0.05 s doubling up to ``MAX_DELAY``."""
    return 0.0 if young_deaths == 0 else min(0.05 * 2 ** min(young_deaths - 1, 16), MAX_DELAY)


def max_silence_of(lease: float, chosen: float | None, *, stopping: bool) -> float:
    """Seconds of silence after which a child counts as hung.

    ``lease``: seconds of the longest lease of the cluster. ``chosen``: the setting, or None.
    """
    usual = max(2 * lease + SILENCE_MARGIN, MIN_SILENCE) if chosen is None else chosen
    return min(usual, MAX_SILENCE_STOPPING) if stopping else usual


def silence_of(row: Row, now: float, watched_since: float) -> float:
    """Seconds since the last sign of life, as far as the sentinel was awake and the child ready to give one.

    ``watched_since``: when the child was started, or when the sentinel itself came back from a pause (the machine
    or the whole process group may have been suspended), whichever is later.
    """
    return max(0.0, now - max(row.tick, watched_since))
