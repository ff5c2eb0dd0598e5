"""Several queues as one: what a cluster with ``-n a,b`` leases from.

Each receipt begins with the place of its queue, so that everything that is said of it later reaches the broker that
lent it. Queues take turns by their weights, and none that has something is left out for long.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from django_cluster.brokers.base import Broker, Capabilities, Delivery, Message, QueueSize, Waiting

EMPTY = 0.02
"""Seconds for which a queue that was found empty is passed over, while others have something."""
AT_ONCE = 1e-9
"""Seconds of a wait that is over before it has begun, but lets a broker that knows itself idle not look."""
MARK = "|"


class Turns:
    """Whose turn it is. Each queue has covered a way, a step for each message, the shorter the heavier it is; the
    one that has come least far is next. While it is empty, a queue saves nothing up."""

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = weights
        self._way = [0.0] * len(weights)
        self._front = 0.0

    def order(self, places: Iterable[int]) -> list[int]:
        return sorted(places, key=lambda place: (self._way[place], place))

    def served(self, place: int, count: int) -> None:
        self._front = max(self._front, self._way[place])
        self._way[place] += count / self._weights[place]

    def empty(self, place: int) -> None:
        self._way[place] = max(self._way[place], self._front)

    def share(self, place: int, among: Iterable[int], room: int) -> int:
        """How much of the room is for this one, if all of them have enough."""
        whole = sum(self._weights[each] for each in among)
        return max(1, -(-room * self._weights[place] // whole))


class SeveralQueues(Broker):
    """The members, each with its weight. If the server of one is away, all wait for it."""

    def __init__(self, members: Sequence[Broker], weights: Sequence[int]) -> None:
        super().__init__(members[0].settings)
        self.members = members
        self.paused = 0
        """A bit for each member from which nothing is to be leased now."""
        woken = any(type(member).wait_with is not Broker.wait_with for member in members)
        self.capabilities = replace(together([member.capabilities for member in members]), blocking=woken)
        databases = {member.database for member in members}
        self.database = databases.pop() if len(databases) == 1 else None
        self._turns = Turns(weights)
        self._empty_until = [0.0] * len(members)

    def prepare(self) -> None:
        for member in self.members:
            member.prepare()

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Into the first queue."""
        self.members[0].enqueue(messages)

    # ── lending ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0) -> Sequence[Delivery]:
        deadline = time.monotonic() + wait
        while True:
            deliveries = self._round(limit, AT_ONCE if wait > 0 else 0.0)
            left = deadline - time.monotonic()
            if deliveries or left <= 0:
                return deliveries
            self._sleep(left)

    def _round(self, limit: int, wait: float) -> list[Delivery]:
        now = time.monotonic()
        willing = [place for place in range(len(self.members)) if not self.paused >> place & 1]
        likely = [place for place in willing if self._empty_until[place] <= now]
        taken = self._take(likely, limit, wait)
        if not taken and len(likely) < len(willing):
            taken = self._take([place for place in willing if place not in likely], limit, wait)
        return taken

    def _take(self, places: Sequence[int], limit: int, wait: float) -> list[Delivery]:
        """Each its share, and what others have left to those that have more."""
        taken: list[Delivery] = []
        while places and len(taken) < limit:
            room, full = limit - len(taken), []
            for place in self._turns.order(places):
                share = min(self._turns.share(place, places, room), limit - len(taken))
                if share <= 0:
                    break
                found = self._lease_from(place, share, wait)
                taken += found
                if len(found) == share:
                    full.append(place)
            places = full
        return taken

    def _lease_from(self, place: int, limit: int, wait: float) -> list[Delivery]:
        member = self.members[place]
        found = member.lease(min(limit, member.capabilities.bulk), wait)
        if not found:
            self._turns.empty(place)
            self._empty_until[place] = time.monotonic() + EMPTY
            return []
        self._turns.served(place, len(found))
        return [each._replace(receipt=f"{place}{MARK}{each.receipt}") for each in found]

    def _sleep(self, seconds: float) -> None:
        """Until one of them may have something; where nothing wakes us for all of them, for one ``poll``."""
        willing = [member for place, member in enumerate(self.members) if not self.paused >> place & 1]
        if not willing or not willing[0].wait_with(willing[1:], seconds):
            time.sleep(min(seconds, *(member.settings.poll for member in self.members)))

    # ── settling ─────────────────────────────────────────────────────────────────────────────────

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        lost = {receipt for receipt in receipts if place_of(receipt, len(self.members)) is None}
        for place, own in self._sorted(receipts):
            lost.update(f"{place}{MARK}{receipt}" for receipt in self.members[place].renew(own))
        return [receipt for receipt in receipts if receipt in lost]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        for place, own in self._sorted(receipts):
            self.members[place].acknowledge(own)

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, begun: bool = True) -> None:
        for place, own in self._sorted(receipts):
            self.members[place].release(own, delay, begun=begun)

    def discard(self, receipts: Sequence[str]) -> None:
        for place, own in self._sorted(receipts):
            self.members[place].discard(own)

    def _sorted(self, receipts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """The receipts of each member, as that member wrote them."""
        own: dict[int, list[str]] = defaultdict(list)
        for receipt in receipts:
            place = place_of(receipt, len(self.members))
            if place is not None:
                own[place].append(receipt.partition(MARK)[2])
        return iter(own.items())

    def tend(self) -> None:
        for member in self.members:
            member.tend()

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[Waiting]:
        seen = [each._replace(key="") for member in self.members for each in member.peek(limit)]
        return seen[:limit]

    def size(self) -> QueueSize:
        sizes = [member.size() for member in self.members]
        return QueueSize(
            ready=sum(size.ready for size in sizes),
            delayed=sum(size.delayed for size in sizes),
            leased=sum(size.leased for size in sizes),
        )

    def purge(self) -> int:
        return sum(member.purge() for member in self.members)

    def ping(self) -> None:
        for member in self.members:
            member.ping()

    def info(self) -> str:
        return "; ".join(dict.fromkeys(member.info() for member in self.members))

    def close(self) -> None:
        for member in self.members:
            member.close()


def together(able: Sequence[Capabilities]) -> Capabilities:
    """What all of them can do; nobody can wait at several places at once, unless they are beside each other."""
    common: dict[str, Any] = {
        each.name: all(getattr(one, each.name) for one in able) for each in fields(Capabilities) if each.type == "bool"
    }
    return Capabilities(**{**common, "bulk": max(one.bulk for one in able), "blocking": False, "withdraw": False})


def place_of(receipt: str, members: int) -> int | None:
    """Which of so many queues has lent under this receipt; None for text that is no receipt of ours."""
    place, mark, _ = receipt.partition(MARK)
    return int(place) if mark and place.isdecimal() and len(place) < 4 and int(place) < members else None
