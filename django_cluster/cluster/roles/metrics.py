"""Counts outcomes: since the start, and in slices of the last five minutes."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import log2

from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.stores.status import Throughput, ThroughputSlice

SLICE_SECONDS = 5
"""Duration of a slice."""
KEPT_SLICES = 60
"""Number of slices: five minutes."""
BUCKETS_PER_DOUBLING = 4
"""Buckets between a duration and its double: a bucket is off by a tenth at most."""
UNCOUNTED = frozenset({OutcomeStatus.SNOOZED, OutcomeStatus.DISCARDED, OutcomeStatus.CANCELLED})
"""Statuses that are neither a success nor a failure."""


@dataclass(slots=True)
class _OpenSlice:
    """A slice that is still growing."""

    number: int
    done: int = 0
    failed: int = 0
    waits: Counter[int] = field(default_factory=Counter)
    runs: Counter[int] = field(default_factory=Counter)


class Metrics:
    """Takes two logarithms and four additions for each outcome."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.done = self.failed = self.retried = 0
        self._slices: deque[_OpenSlice] = deque(maxlen=KEPT_SLICES)

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes that were recorded just now."""
        number = int(self._clock()) // SLICE_SECONDS
        if not self._slices or self._slices[-1].number != number:
            self._slices.append(_OpenSlice(number))
        slice_ = self._slices[-1]
        for outcome in outcomes:
            if outcome.status == OutcomeStatus.SUCCESS:
                slice_.done += 1
                self.done += 1
            elif outcome.status not in UNCOUNTED:
                slice_.failed += 1
                self.failed += 1
                self.retried += not outcome.final
            slice_.runs[bucket_of(outcome.stopped_at - outcome.started_at)] += 1
            if outcome.attempt == 1:
                slice_.waits[bucket_of(outcome.started_at - outcome.enqueued_at)] += 1

    def throughput(self) -> Throughput:
        oldest = int(self._clock()) // SLICE_SECONDS - KEPT_SLICES
        slices = tuple(_closed(each) for each in self._slices if each.number > oldest)
        return Throughput(done=self.done, failed=self.failed, retried=self.retried, step=SLICE_SECONDS, slices=slices)


def _closed(slice_: _OpenSlice) -> ThroughputSlice:
    return ThroughputSlice(
        number=slice_.number,
        done=slice_.done,
        failed=slice_.failed,
        wait_median=quantile(slice_.waits, 0.5),
        wait_high=quantile(slice_.waits, 0.95),
        run_median=quantile(slice_.runs, 0.5),
        run_high=quantile(slice_.runs, 0.95),
    )


def bucket_of(seconds: float) -> int:
    """The bucket of a duration in seconds. Less than a microsecond, or less than 0, is bucket 0."""
    return int(log2(seconds * 1e6) * BUCKETS_PER_DOUBLING) if seconds > 1e-6 else 0


def quantile(classes: Counter[int], share: float) -> float:
    """The quantile ``share`` (0 to 1) of durations, in seconds, from their buckets; 0 if there are none."""
    left = share * classes.total()
    for number in sorted(classes):
        left -= classes[number]
        if left <= 0:
            return float(f"{2 ** ((number + 0.5) / BUCKETS_PER_DOUBLING) / 1e6:.3g}")
    return 0.0
