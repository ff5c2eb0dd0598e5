"""What is to go wrong, and when: a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
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


NETWORK = (Kind.HOLD, Kind.FORGET, Kind.LOSE, Kind.RESET)
"""What happens between cluster and server."""


class Target(StrEnum):
    """Who or what is hit."""

    WORKER = "worker"
    PUSHER = "pusher"
    MONITOR = "monitor"
    SCHEDULER = "scheduler"
    NOTIFIER = "notifier"
    """Is there only where hooks or receivers are; nothing hits it, and it has to end with the others."""
    SENTINEL = "sentinel"
    SERVER = "server"
    """The broker's server; it is paused, and not killed."""
    CLUSTER = "cluster"
    """The sentinel and all of its children at once."""
    NETWORK = "network"
    """The connections to the server."""


CREW = (Target.WORKER, Target.PUSHER, Target.MONITOR, Target.SCHEDULER)
"""Those whom the sentinel replaces."""


class Deed(NamedTuple):
    """One sort of fault."""

    kind: Kind
    target: Target

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


SHARES = {
    Deed(Kind.KILL, Target.WORKER): 4,
    Deed(Kind.KILL, Target.PUSHER): 2,
    Deed(Kind.KILL, Target.MONITOR): 2,
    Deed(Kind.KILL, Target.SCHEDULER): 1,
    Deed(Kind.KILL, Target.SENTINEL): 1,
    Deed(Kind.FREEZE, Target.SERVER): 1,
    Deed(Kind.FREEZE, Target.WORKER): 1,
    Deed(Kind.FREEZE, Target.PUSHER): 1,
    Deed(Kind.FREEZE, Target.MONITOR): 1,
    Deed(Kind.FREEZE, Target.SCHEDULER): 1,
    Deed(Kind.FREEZE, Target.SENTINEL): 1,
    Deed(Kind.FREEZE, Target.CLUSTER): 1,
    Deed(Kind.HOLD, Target.NETWORK): 1,
    Deed(Kind.FORGET, Target.NETWORK): 1,
    Deed(Kind.LOSE, Target.NETWORK): 1,
    Deed(Kind.RESET, Target.NETWORK): 1,
    Deed(Kind.CLOCK, Target.CLUSTER): 1,
}
"""How often each has its turn in one round. Each has one in every round, so a short run misses none."""

OUTAGES = {
    Deed(Kind.FREEZE, Target.SERVER),
    Deed(Kind.FREEZE, Target.CLUSTER),
    Deed(Kind.HOLD, Target.NETWORK),
    Deed(Kind.FORGET, Target.NETWORK),
    Deed(Kind.LOSE, Target.NETWORK),
}
"""What stops everybody. One begins when the one before is over, so that the cluster works in between."""


class Span(NamedTuple):
    """Bounds between which the dice choose."""

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
    kind: Kind = Kind.KILL


def draw(
    seed: int, seconds: float, every: float, deeds: Collection[Deed], spans: Mapping[Deed, Span] | None = None
) -> tuple[Fault, ...]:
    """The faults of one run, ``every`` seconds one on average; some come in quick succession.

    ``spans``: how many seconds each deed may last; without one, it lasts no time.
    """
    dice = random.Random(seed)  # noqa: S311  dice that can be thrown again, not a secret
    faults = []
    at, over = every * dice.random(), 0.0
    for deed in _rounds(dice, deeds):
        span = (spans or {}).get(deed)
        lasts = dice.uniform(*span) if span else 0.0
        if deed in OUTAGES:
            at = max(at, over)
            over = at + lasts + every
        if at >= seconds:
            break
        faults.append(Fault(at, deed.target, dice.random(), lasts, deed.kind))
        at += every * dice.uniform(0.0, 2.0)
    return tuple(faults)


def _rounds(dice: random.Random, deeds: Collection[Deed]) -> Iterator[Deed]:
    """For ever, if there is anything to do."""
    deck = [deed for deed, share in SHARES.items() if deed in deeds for _ in range(share)]
    while deck:
        dice.shuffle(deck)
        yield from deck
