"""The way of a lone task through an idle cluster: after how long each process has it in hand.

Every step but the task itself is a process that the kernel has to wake; what it then does, it does with cold caches.
That is why these times are many times those of ``steps``, which run warm.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import stamped
from benchmarks.harness import Harness
from benchmarks.marks import Marks
from benchmarks.scenarios import BOOT, LEAST, percentile
from benchmarks.systems.django_cluster import DjangoCluster

SAMPLES = 200
CALLED, RETURNED, BEGUN = "called", "returned", "begun"

STEPS: Sequence[tuple[str, str, str]] = (
    (CALLED, RETURNED, "sender: the whole call"),
    (CALLED, stamped.LEASED, "call to pusher: sealed, sent, kept, the pusher woken"),
    (stamped.LEASED, stamped.HANDED_OUT, "pusher: verify, hand out"),
    (stamped.HANDED_OUT, stamped.RECEIVED, "pusher to worker: the worker woken, the job read"),
    (stamped.RECEIVED, BEGUN, "worker: find the function, begin"),
    (CALLED, BEGUN, "call to task: latency"),
    (BEGUN, stamped.FINISHED, "worker: end, seal the result"),
    (stamped.FINISHED, stamped.SETTLED, "worker to monitor: saved, acknowledged"),
    (CALLED, stamped.SETTLED, "call to result"),
)


class Stamped(DjangoCluster):
    """The same system, whose processes leave marks."""

    def commands(self) -> list[list[str]]:
        return [["python", "-m", "benchmarks.stamped", "qcluster"]]


@dataclass(frozen=True, slots=True)
class Hop:
    """How long one part of the way takes; microseconds."""

    what: str
    median: float
    p95: float


def task_path(harness: Harness) -> list[Hop]:
    """Play on a harness whose workers leaves the marks of ``stamped``."""
    harness.processes.start()
    harness.agent.ask("send", "noop", LEAST)
    harness.wait_for_marks(LEAST, BOOT)
    harness.agent.ask("wait_settled", LEAST, BOOT)
    lone = harness.agent.ask("lone_tasks", SAMPLES)
    harness.agent.ask("wait_settled", LEAST + len(lone), BOOT)
    left = {place: moments_of(harness.marks.path, place) for place in stamped.PLACES}
    return hops([dict(zip((CALLED, RETURNED, BEGUN), each, strict=True)) for each in lone], left)


def moments_of(path: Path, place: str) -> list[float]:
    return Marks(path.with_name(path.name + place)).moments()


def hops(lone: Sequence[dict[str, float]], left: Mapping[str, Sequence[float]]) -> list[Hop]:
    """``lone``: the moments that the sender knows. ``left``: those that each place has noted, of all tasks in order."""
    ends = [each[CALLED] for each in lone[1:]]
    tasks = [each | firsts(left, each[CALLED], end) for each, end in zip(lone, ends, strict=False)]
    found = []
    for start, end, what in STEPS:
        times = [(task[end] - task[start]) * 1e6 for task in tasks if start in task and end in task]
        if times:
            found.append(Hop(what, percentile(times, 50), percentile(times, 95)))
    return found


def firsts(left: Mapping[str, Sequence[float]], start: float, end: float) -> dict[str, float]:
    """The first moment at each place that lies between these two."""
    found = {}
    for place, moments in left.items():
        index = bisect_left(moments, start)
        if index < len(moments) and moments[index] < end:
            found[place] = moments[index]
    return found
