"""The plan of a run: which fault is injected when, as a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple


class FaultKind(StrEnum):
    """Kinds of faults; the values are what ``--events`` takes."""

    KILL = "kill"
    """SIGKILL."""
    FREEZE = "freeze"
    """SIGSTOP and a later SIGCONT, of the server or of processes."""
    HOLD = "hold"
    """All traffic between cluster and server is delayed, and delivered later in order."""
    FORGET = "forget"
    """Open connections become silent forever: no bytes and no close. New connections work."""
    LOSE = "lose"
    """Requests are executed by the server, and some of the answers are lost."""
    RESET = "reset"
    """All open connections are reset."""
    CLOCK = "clock"
    """The wall clock of the cluster is set to a wrong time; servers and senders are unaffected."""
    CANCEL = "cancel"
    """A task is cancelled that was sent a moment ago."""


NETWORK = (FaultKind.HOLD, FaultKind.FORGET, FaultKind.LOSE, FaultKind.RESET)
"""Kinds of network faults."""


class Target(StrEnum):
    """Targets of faults."""

    WORKER = "worker"
    PUSHER = "pusher"
    MONITOR = "monitor"
    SCHEDULER = "scheduler"
    NOTIFIER = "notifier"
    """Exists only if there are hooks or receivers; never a target, but it has to end with the cluster."""
    SENTINEL = "sentinel"
    SERVER = "server"
    """The server of the broker; it is paused, never killed."""
    CLUSTER = "cluster"
    """The sentinel and all of its children together."""
    NETWORK = "network"
    """The connections to the server."""
    TASK = "task"
    """One of the tasks that were sent last."""


REPLACEABLE = (Target.WORKER, Target.PUSHER, Target.MONITOR, Target.SCHEDULER)
"""Processes that the sentinel replaces."""


class FaultType(NamedTuple):
    """A kind of fault and its target."""

    kind: FaultKind
    target: Target

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


WEIGHTS = {
    FaultType(FaultKind.KILL, Target.WORKER): 4,
    FaultType(FaultKind.KILL, Target.PUSHER): 2,
    FaultType(FaultKind.KILL, Target.MONITOR): 2,
    FaultType(FaultKind.KILL, Target.SCHEDULER): 1,
    FaultType(FaultKind.KILL, Target.SENTINEL): 1,
    FaultType(FaultKind.FREEZE, Target.SERVER): 1,
    FaultType(FaultKind.FREEZE, Target.WORKER): 1,
    FaultType(FaultKind.FREEZE, Target.PUSHER): 1,
    FaultType(FaultKind.FREEZE, Target.MONITOR): 1,
    FaultType(FaultKind.FREEZE, Target.SCHEDULER): 1,
    FaultType(FaultKind.FREEZE, Target.SENTINEL): 1,
    FaultType(FaultKind.FREEZE, Target.CLUSTER): 1,
    FaultType(FaultKind.HOLD, Target.NETWORK): 1,
    FaultType(FaultKind.FORGET, Target.NETWORK): 1,
    FaultType(FaultKind.LOSE, Target.NETWORK): 1,
    FaultType(FaultKind.RESET, Target.NETWORK): 1,
    FaultType(FaultKind.CLOCK, Target.CLUSTER): 1,
    FaultType(FaultKind.CANCEL, Target.TASK): 4,
}
"""Number of times that each fault occurs in one shuffled round; at least once, so that short runs miss none."""

OUTAGES = {
    FaultType(FaultKind.FREEZE, Target.SERVER),
    FaultType(FaultKind.FREEZE, Target.CLUSTER),
    FaultType(FaultKind.HOLD, Target.NETWORK),
    FaultType(FaultKind.FORGET, Target.NETWORK),
    FaultType(FaultKind.LOSE, Target.NETWORK),
}
"""Faults that stop the whole cluster. They never overlap, so that the cluster works in between."""


class DurationRange(NamedTuple):
    """Lower and upper bound of a duration in seconds."""

    least: float
    most: float


class Fault(NamedTuple):
    """One planned fault."""

    at: float
    """Seconds after the start of the run."""
    target: Target
    pick: float
    """Selects one of several workers; 0 <= pick < 1."""
    seconds: float = 0.0
    """Duration; for ``clock``, the offset."""
    kind: FaultKind = FaultKind.KILL


def draw_faults(
    seed: int,
    seconds: float,
    every: float,
    fault_types: Collection[FaultType],
    duration_ranges: Mapping[FaultType, DurationRange] | None = None,
) -> tuple[Fault, ...]:
    """Draw the faults of one run, with ``every`` seconds between two of them on average.

    ``duration_ranges``: bounds of the duration of each type in seconds; without an entry it is 0.
    """
    rng = random.Random(seed)  # noqa: S311  repeatable by its seed, not a secret
    faults = []
    at, over = every * rng.random(), 0.0
    for fault_type in _rounds(rng, fault_types):
        duration_range = (duration_ranges or {}).get(fault_type)
        lasts = rng.uniform(*duration_range) if duration_range else 0.0
        if fault_type in OUTAGES:
            at = max(at, over)
            over = at + lasts + every
        if at >= seconds:
            break
        faults.append(Fault(at, fault_type.target, rng.random(), lasts, fault_type.kind))
        at += every * rng.uniform(0.0, 2.0)
    return tuple(faults)


def _rounds(rng: random.Random, fault_types: Collection[FaultType]) -> Iterator[FaultType]:
    """An endless sequence of shuffled rounds; empty without fault types."""
    deck = [fault_type for fault_type, share in WEIGHTS.items() if fault_type in fault_types for _ in range(share)]
    while deck:
        rng.shuffle(deck)
        yield from deck
