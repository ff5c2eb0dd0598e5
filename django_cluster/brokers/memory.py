"""The reference adapter: a queue in the memory of one process, for tests and for reading.

All brokers of one process that name the same queue share it, as they would share a server.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from threading import Condition

from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.core.settings import BrokerSettings


@dataclass(slots=True)
class _Entry:
    """A message and what has happened to it."""

    payload: str = field(repr=False)
    priority: int
    key: str
    attempts: int = 0
    due: float = 0.0
    """When it becomes ready, or when its lease ends."""


@dataclass(slots=True)
class _Queue:
    """Each message is in exactly one of the three containers. Access needs the lock ``changed``."""

    changed: Condition = field(default_factory=Condition)
    lanes: dict[int, deque[_Entry]] = field(default_factory=dict)
    delayed: list[tuple[float, int, _Entry]] = field(default_factory=list)
    leased: dict[str, _Entry] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def append(self, entry: _Entry) -> None:
        self.lanes.setdefault(entry.priority, deque()).append(entry)

    def push_front(self, entries: Sequence[_Entry]) -> None:
        for entry in reversed(entries):
            self.lanes.setdefault(entry.priority, deque()).appendleft(entry)

    def delay(self, entry: _Entry, due: float) -> None:
        entry.due = due
        heapq.heappush(self.delayed, (due, next(self.numbers), entry))

    def promote(self, now: float) -> None:
        """Make ready what is due: delayed messages behind the others, ended leases in front of them."""
        while self.delayed and self.delayed[0][0] <= now:
            self.append(heapq.heappop(self.delayed)[2])
        ended = [receipt for receipt, entry in self.leased.items() if entry.due <= now]
        self.push_front([self.leased.pop(receipt) for receipt in ended])

    def ready(self) -> Iterator[_Entry]:
        return chain.from_iterable(self.lanes[priority] for priority in sorted(self.lanes, reverse=True))

    @property
    def waiting(self) -> int:
        return sum(map(len, self.lanes.values())) + len(self.delayed)

    def take(self) -> _Entry | None:
        for priority in sorted(self.lanes, reverse=True):
            if self.lanes[priority]:
                return self.lanes[priority].popleft()
        return None

    def next_due(self) -> float:
        """When something comes back by itself."""
        leases = (entry.due for entry in self.leased.values())
        return min(chain(leases, (due for due, _, _ in self.delayed[:1])), default=float("inf"))


_queues: dict[tuple[str, str], _Queue] = {}


def reset() -> None:
    """Forget every queue of this process."""
    _queues.clear()


class MemoryBroker(Broker):
    """Keeps messages as long as the process lives."""

    capabilities = Capabilities(blocking=True, cancel=True)

    def __init__(self, settings: BrokerSettings, clock: Callable[[], float] = lambda: time.time()) -> None:
        super().__init__(settings)
        self._clock = clock

    @property
    def _queue(self) -> _Queue:
        return _queues.setdefault((self.settings.name, self.queue), _Queue())

    def enqueue(self, messages: Sequence[Message]) -> None:
        queue = self._queue
        with queue.changed:
            now = self._clock()
            for message in messages:
                entry = _Entry(message.payload, message.priority, str(next(queue.numbers)), message.attempts)
                if message.not_before is not None and message.not_before > now:
                    queue.delay(entry, message.not_before)
                else:
                    queue.append(entry)
            queue.changed.notify_all()

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        queue, deadline = self._queue, time.monotonic() + wait
        with queue.changed:
            while time.monotonic() < not_after:
                deliveries = self._take(queue, limit)
                left = min(deadline, not_after) - time.monotonic()
                if deliveries or left <= 0:
                    return deliveries
                queue.changed.wait(min(left, max(0.001, queue.next_due() - self._clock())))
            return []

    def _take(self, queue: _Queue, limit: int) -> list[Delivery]:
        now = self._clock()
        queue.promote(now)
        deliveries: list[Delivery] = []
        while len(deliveries) < limit and (entry := queue.take()) is not None:
            receipt = str(next(queue.numbers))
            entry.attempts += 1
            entry.due = now + self.settings.lease
            queue.leased[receipt] = entry
            deliveries.append(Delivery(receipt, entry.payload, entry.attempts))
        return deliveries

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        queue = self._queue
        with queue.changed:
            for entry in self._held(queue, receipts):
                entry.due = self._clock() + self.settings.lease
            return [receipt for receipt in receipts if receipt not in queue.leased]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        queue = self._queue
        with queue.changed:
            for receipt in receipts:
                queue.leased.pop(receipt, None)

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        queue = self._queue
        with queue.changed:
            receipts = [delivery.receipt for delivery in deliveries]
            entries = list(self._held(queue, receipts))
            for receipt in receipts:
                queue.leased.pop(receipt, None)
            for entry in entries:
                entry.attempts -= refund_attempt
                if delay > 0:
                    queue.delay(entry, self._clock() + delay)
            if delay <= 0:
                queue.push_front(entries)
            queue.changed.notify_all()

    @staticmethod
    def _held(queue: _Queue, receipts: Iterable[str]) -> Iterator[_Entry]:
        return (queue.leased[receipt] for receipt in dict.fromkeys(receipts) if receipt in queue.leased)

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        queue = self._queue
        with queue.changed:
            ready = [QueuedMessage(e.payload, e.priority, e.attempts, None, False, e.key) for e in queue.ready()]
            parked = [
                QueuedMessage(e.payload, e.priority, e.attempts, e.due, False, e.key) for _, _, e in queue.delayed
            ]
            parked += [
                QueuedMessage(e.payload, e.priority, e.attempts, e.due, True, e.key) for e in queue.leased.values()
            ]
        return (ready + sorted(parked, key=lambda waiting: waiting.due or 0.0))[:limit]

    def cancel(self, keys: Sequence[str]) -> int:
        queue, named = self._queue, set(keys)
        with queue.changed:
            queue.promote(self._clock())
            before = queue.waiting
            queue.lanes = {
                priority: deque(entry for entry in lane if entry.key not in named)
                for priority, lane in queue.lanes.items()
            }
            queue.delayed = [item for item in queue.delayed if item[2].key not in named]
            heapq.heapify(queue.delayed)
            return before - queue.waiting

    def size(self) -> QueueSize:
        queue = self._queue
        with queue.changed:
            queue.promote(self._clock())
            return QueueSize(ready=sum(1 for _ in queue.ready()), delayed=len(queue.delayed), leased=len(queue.leased))

    def purge(self) -> int:
        queue = self._queue
        with queue.changed:
            total = len(list(queue.ready())) + len(queue.delayed) + len(queue.leased)
            queue.lanes.clear()
            queue.delayed.clear()
            queue.leased.clear()
            return total

    def ping(self) -> None:
        """There is no server that could be away."""

    def info(self) -> str:
        return "Memory of this process"
