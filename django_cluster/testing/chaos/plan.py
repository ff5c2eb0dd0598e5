"""What is to go wrong, and when: a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple


class FaultKind(StrEnum):
    """What is done."""

    KILL = "kill"
    """SIGKILL."""
    FREEZE = "freeze"
    """SIGSTOP, and SIGCONT later; of the server, or of processes."""
    HOLD = "hold"
    """Every byte between cluster and server is kept for a while, and then delivered."""
    FORGET = "forget"
    """Every open connection falls silent for ever: no byte, no end. New ones work."""
    LOSE = "lose"
    """For a while, the server carries a request out, and now and then its answer is lost."""
    RESET = "reset"
    """Every open connection is reset."""
    CLOCK = "clock"
    """The wall clock of the cluster is set to another time; that of servers and senders is not."""


NETWORK = (FaultKind.HOLD, FaultKind.FORGET, FaultKind.LOSE, FaultKind.RESET)
"""What happens between cluster and server."""


class Target(StrEnum):
    """Who or what is hit."""

    WORKER = "worker"
    PUSHER = "pusher"
    MONITOR = "monitor"
    SCHEDULER = "scheduler"
    NOTIFIER = "notifier"
    """Is there only where hooks or receivers are; nothing faults it, and it has to end with the others."""
    SENTINEL = "sentinel"
    SERVER = "server"
    """The broker's server; it is paused, and not killed."""
    CLUSTER = "cluster"
    """The sentinel and all of its children at once."""
    NETWORK = "network"
    """The connections to the server."""


REPLACEABLE = (Target.WORKER, Target.PUSHER, Target.MONITOR, Target.SCHEDULER)
"""Those whom the sentinel replaces."""


class FaultType(NamedTuple):
    """One sort of fault."""

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
}
"""How often each has its turn in one round. Each has one in every round, so a short run misses none."""

OUTAGES = {
    FaultType(FaultKind.FREEZE, Target.SERVER),
    FaultType(FaultKind.FREEZE, Target.CLUSTER),
    FaultType(FaultKind.HOLD, Target.NETWORK),
    FaultType(FaultKind.FORGET, Target.NETWORK),
    FaultType(FaultKind.LOSE, Target.NETWORK),
}
"""What stops everybody. One begins when the one before is over, so that the cluster works in between."""


class DurationRange(NamedTuple):
    """Bounds between which the rng choose."""

    least: float
    most: float


class Fault(NamedTuple):
    """One thing that is to go wrong."""

    at: float
    """Seconds after the start."""
    target: Target
    pick: float
    """From 0 up to 1: which of several workers."""
    seconds: float = 0.0
    """How long it lasts; for a clock, how far from the right time it is set."""
    kind: FaultKind = FaultKind.KILL


def draw_faults(
    seed: int,
    seconds: float,
    every: float,
    fault_types: Collection[FaultType],
    duration_ranges: Mapping[FaultType, DurationRange] | None = None,
) -> tuple[Fault, ...]:
    """The faults of one run, ``every`` seconds one on average; some come in quick succession.

    ``duration_ranges``: how many seconds each fault_type may last; without one, it lasts no time.
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
    """For ever, if there is anything to do."""
    deck = [fault_type for fault_type, share in WEIGHTS.items() if fault_type in fault_types for _ in range(share)]
    while deck:
        rng.shuffle(deck)
        yield from deck
