"""Which of several queues is next, by their weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class WeightedRoundRobin:
    """Chooses the next queue by weight (stride scheduling).

    The progress of a queue grows with each message by the reciprocal of its weight, and the queue with the least
    progress is next. An empty queue is moved up, so that it does not catch up later.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = weights
        self._progress = [0.0] * len(weights)
        self._furthest = 0.0

    def order(self, indexes: Iterable[int]) -> list[int]:
        return sorted(indexes, key=lambda index: (self._progress[index], index))

    def served(self, index: int, count: int) -> None:
        self._furthest = max(self._furthest, self._progress[index])
        self._progress[index] += count / self._weights[index]

    def empty(self, index: int) -> None:
        self._progress[index] = max(self._progress[index], self._furthest)

    def share(self, index: int, among: Iterable[int], room: int) -> int:
        """How many of ``room`` messages are for this queue, if all of them have enough."""
        whole = sum(self._weights[each] for each in among)
        return max(1, -(-room * self._weights[index] // whole))
