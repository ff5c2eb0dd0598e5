"""The workload, and how its phases are timed: ours and the floor by turns, round after round."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.brokers.sides import Missing, Side, in_batches

PHASES = ("singly", "bulk", "drain")
OURS, FLOOR, RATIO = "ours", "floor", "ratio"
SCENARIO = "rates"
WARM_UP = 8


@dataclass(frozen=True, slots=True)
class Workload:
    """One round, the same for every broker."""

    singly: int = 100
    """Messages that are sent one by one."""
    bulk: int = 768
    """Messages that are sent in batches. Then all that was sent is drained."""
    seconds: float = 1.0
    """Rounds begin until so much time was measured on both sides together; there is always one."""


QUICK = Workload(singly=20, bulk=256, seconds=0.0)
SIZES = {"full": Workload(), "quick": QUICK}


@dataclass(slots=True)
class Stopwatch:
    """Adds up the messages and the seconds of each phase."""

    clock: Callable[[], float] = time.perf_counter
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def time(self, phase: str, count: int, work: Callable[[], Any]) -> Any:
        began = self.clock()
        value = work()
        self.seconds[phase] += self.clock() - began
        self.counts[phase] += count
        return value

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def rates(self) -> dict[str, float]:
        """Messages a second, by phase."""
        return {phase: self.counts[phase] / self.seconds[phase] for phase in self.seconds}


def measure(ours: Side, floor: Side, load: Workload, payloads: Sequence[str]) -> dict[str, float]:
    """``<phase>_ours`` and ``<phase>_floor`` in messages a second, and ``<phase>_ratio``, the part that ours reaches.

    ``payloads`` has at least as many as one round sends.
    """
    watches = (Stopwatch(), Stopwatch())
    for side in (ours, floor):  # connections, plans and caches
        play(side, Stopwatch(), Workload(WARM_UP, WARM_UP), payloads)
    while True:
        for side, watch in zip((ours, floor), watches, strict=True):
            play(side, watch, load, payloads)
        if sum(watch.total for watch in watches) >= load.seconds:
            return numbers(*(watch.rates() for watch in watches))


def play(side: Side, watch: Stopwatch, load: Workload, payloads: Sequence[str]) -> None:
    """One round. What comes out has to be what was put in."""
    alone, rest = payloads[: load.singly], payloads[load.singly : load.singly + load.bulk]
    batches = list(in_batches(rest))
    sent = len(alone) + len(rest)
    watch.time("singly", len(alone), lambda: [side.send(payload) for payload in alone])
    watch.time("bulk", len(rest), lambda: [side.send_many(batch) for batch in batches])
    taken = watch.time("drain", sent, lambda: side.drain(sent))
    if Counter(map(as_text, taken)) != Counter(payloads[:sent]):
        raise Missing("other messages came out than had been sent")


def as_text(payload: str | bytes) -> str:
    return payload if isinstance(payload, str) else payload.decode()


def numbers(ours: dict[str, float], floor: dict[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for phase, rate in ours.items():
        found[f"{phase}_{OURS}"], found[f"{phase}_{FLOOR}"] = rate, floor[phase]
        found[f"{phase}_{RATIO}"] = rate / floor[phase]
    return found
