"""What is to go wrong, and when: a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import NamedTuple


class Target(StrEnum):
    """Who or what is hit."""

    WORKER = "worker"
    PUSHER = "pusher"
    MONITOR = "monitor"
    SCHEDULER = "scheduler"
    SENTINEL = "sentinel"
    SERVER = "server"
    """The broker's server; it is paused, and not killed."""


CREW = (Target.WORKER, Target.PUSHER, Target.MONITOR, Target.SCHEDULER)
"""Those whom the sentinel replaces."""

SHARES = {
    Target.WORKER: 4,
    Target.PUSHER: 2,
    Target.MONITOR: 2,
    Target.SCHEDULER: 1,
    Target.SENTINEL: 1,
    Target.SERVER: 1,
}
"""How often each is hit in one round. Every target has its turn in every round, so a short run misses none."""


class Fault(NamedTuple):
    """One thing that is to go wrong."""

    at: float
    """Seconds after the start."""
    target: Target
    pick: float
    """From 0 up to 1: which of several workers."""
    seconds: float = 0.0
    """How long a pause lasts."""


def draw(
    seed: int, seconds: float, every: float, targets: Collection[Target], longest_pause: float = 0.0
) -> tuple[Fault, ...]:
    """The faults of one run, ``every`` seconds one on average; some come in quick succession."""
    dice = random.Random(seed)  # noqa: S311  dice that can be thrown again, not a secret
    faults = []
    at = every * dice.random()
    for target in _rounds(dice, targets):
        if at >= seconds:
            break
        pause = longest_pause * dice.uniform(0.1, 1.0) if target is Target.SERVER else 0.0
        faults.append(Fault(at, target, dice.random(), pause))
        at += every * dice.uniform(0.0, 2.0)
    return tuple(faults)


def _rounds(dice: random.Random, targets: Collection[Target]) -> Iterator[Target]:
    """For ever, if there is anything to hit."""
    deck = [target for target, share in SHARES.items() if target in targets for _ in range(share)]
    while deck:
        dice.shuffle(deck)
        yield from deck
