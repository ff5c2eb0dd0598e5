"""Several queues as one broker: what a cluster with ``-n a,b`` leases from.

Each receipt begins with the index of its queue, so that acknowledging, renewing and releasing reach the broker that
leased the message. Queues take turns by weight; none that has messages is left out for long.

If the queues are on several servers, one that is unavailable is left out until it has answered to ``renew``: leases of
tasks that still run here must be ours again before it leases anything more. The other servers are not affected.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.brokers.queue_servers import server_numbers
from django_cluster.brokers.queue_turns import WeightedRoundRobin
from django_cluster.core.backoff import PAUSE_FACTOR, ReconnectBackoff
from django_cluster.errors import BrokerError, BrokerUnavailable

Result = TypeVar("Result")

EMPTY_SECONDS = 0.02
"""Seconds for which an empty queue is skipped while others have messages."""
NO_WAIT_SECONDS = 1e-9
"""A wait that is over immediately, but allows a broker that knows that its queue is empty not to ask the server."""
SEPARATOR = "|"


class MultiQueueBroker(Broker):
    """Leases from ``members`` by their weights. Members on one server are unavailable together."""

    def __init__(self, members: Sequence[Broker], weights: Sequence[int]) -> None:
        super().__init__(members[0].settings)
        self.members = members
        self.paused = 0
        """Bit mask of members from which nothing is leased."""
        woken = any(each.capabilities.blocking and each.can_wait_any for each in members)
        self.capabilities = replace(common_capabilities([member.capabilities for member in members]), blocking=woken)
        databases = {member.database for member in members}
        self.database = databases.pop() if len(databases) == 1 else None
        self._turns = WeightedRoundRobin(weights)
        self._empty_until = [0.0] * len(members)
        self._server = server_numbers([member.settings for member in members])
        """Number of the server of each member."""
        self.single_server = max(self._server) == 0
        self._backoffs = [ReconnectBackoff(self._server_title(number)) for number in range(max(self._server) + 1)]

    def _server_title(self, number: int) -> str:
        names = [each.queue for each, server in zip(self.members, self._server, strict=True) if server == number]
        return f"The broker of {', '.join(map(repr, names))}"

    def prepare(self) -> None:
        """Prepare all available members; raise the first error."""
        self._for_each((index, member.prepare) for index, member in enumerate(self.members))

    def warnings(self) -> Sequence[str]:
        found = [concern for index in range(len(self.members)) for concern in self._warnings_of(index)]
        return list(dict.fromkeys(found))

    def _warnings_of(self, index: int) -> Sequence[str]:
        return () if self._is_away(index) else self._try(index, self.members[index].warnings, ())

    # ── unavailable servers ────────────────────────────────────────────────────────────────────

    @property
    def has_due_retry(self) -> bool:
        """Whether an unavailable server is to be tried again, by ``renew`` with all leases."""
        return any(backoff.failing and backoff.due for backoff in self._backoffs)

    def _is_away(self, index: int) -> bool:
        return self._backoffs[self._server[index]].failing

    def _try(self, index: int, act: Callable[[], Result], otherwise: Result) -> Result:
        """The result of ``act``; ``otherwise`` if its server is unavailable. With one server, the error is raised."""
        if self.single_server:
            return act()
        started = time.monotonic()
        try:
            return act()
        except BrokerError as error:
            # Shorter than a renewal may be late: tasks that run here must not be leased to others.
            took = min(time.monotonic() - started, self.members[index].settings.lease / 3 / PAUSE_FACTOR)
            self._backoffs[self._server[index]].failed(error, took)
            return otherwise

    def _for_each(self, acts: Iterable[tuple[int, Callable[[], object]]]) -> None:
        """Call all, also if one server fails; raise the first error at the end."""
        failed: dict[int, BrokerError] = {}
        for index, act in acts:
            server = self._server[index]
            if server in failed:
                continue
            try:
                if self._is_away(index):
                    raise BrokerUnavailable(f"{self._server_title(server)} is away.")
                act()
            except BrokerError as error:
                failed[server] = error
        if failed:
            raise next(iter(failed.values()))

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Keep the messages in the first queue."""
        self.members[0].enqueue(messages)

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        deadline = time.monotonic() + wait
        while time.monotonic() < not_after:
            deliveries = self._round(limit, NO_WAIT_SECONDS if wait > 0 else 0.0, not_after)
            left = min(deadline, not_after) - time.monotonic()
            if deliveries or left <= 0:
                return deliveries
            self._sleep(left)
        return []

    def _round(self, limit: int, wait: float, not_after: float) -> list[Delivery]:
        now = time.monotonic()
        available = self._available()
        likely = [index for index in available if self._empty_until[index] <= now]
        taken = self._take(likely, limit, wait, not_after)
        if not taken and len(likely) < len(available):
            taken = self._take([index for index in available if index not in likely], limit, wait, not_after)
        return taken

    def _available(self) -> list[int]:
        """Indexes of the queues that are neither paused nor unavailable."""
        return [n for n in range(len(self.members)) if not self.paused >> n & 1 and not self._is_away(n)]

    def _take(self, indexes: Sequence[int], limit: int, wait: float, not_after: float) -> list[Delivery]:
        """Lease from each queue its share, and what others leave from those that have more."""
        taken: list[Delivery] = []
        while indexes and len(taken) < limit:
            room, full = limit - len(taken), []
            for index in self._turns.order(indexes):
                share = min(self._turns.share(index, indexes, room), limit - len(taken))
                if share <= 0:
                    break
                try:
                    found = self._lease_from(index, share, wait, not_after)
                except BrokerError:
                    if not taken:
                        raise
                    return taken  # they are leased to us; the next call will meet the same error
                taken += found
                if len(found) == share:
                    full.append(index)
            indexes = full
        return taken

    def _lease_from(self, index: int, limit: int, wait: float, not_after: float) -> list[Delivery]:
        if self._is_away(index):  # its server has failed in this round
            return []
        member = self.members[index]
        limit = min(limit, member.capabilities.bulk)
        nothing: Sequence[Delivery] = ()
        found = self._try(index, lambda: member.lease(limit, wait, not_after=not_after), nothing)
        if not found:
            self._turns.empty(index)
            self._empty_until[index] = time.monotonic() + EMPTY_SECONDS
            return []
        self._turns.served(index, len(found))
        return [each._replace(receipt=f"{index}{SEPARATOR}{each.receipt}", queue=member.queue) for each in found]

    def _sleep(self, seconds: float) -> None:
        """Wait until one of them may have a message; if no server can wake us for all of them, for one ``poll``."""
        indexes = self._available()
        members = [self.members[index] for index in indexes]
        if not members or not self._try(indexes[0], lambda: members[0].wait_any(members[1:], seconds), True):
            time.sleep(min(seconds, *(member.settings.poll for member in self.members)))

    # ── the end of a lease ─────────────────────────────────────────────────────────────────────────────────

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        """See ``Broker.renew``. Also asks a server that was unavailable, even without leases of it."""
        lost = {receipt for receipt in receipts if queue_index(receipt, len(self.members)) is None}
        own = dict(self._by_queue(receipts))
        for index in range(len(self.members)):
            backoff = self._backoffs[self._server[index]]
            if not (index in own or backoff.failing) or not backoff.due:
                continue
            lost.update(self._try(index, partial(self._renew, index, own.get(index, ())), ()))
        for backoff in self._backoffs:
            if backoff.failing and backoff.due:
                backoff.recovered()
        return [receipt for receipt in receipts if receipt in lost]

    def _renew(self, index: int, receipts: Sequence[str]) -> Sequence[str]:
        member = self.members[index]
        if self._is_away(index):
            member.prepare()
            member.ping()
        return [f"{index}{SEPARATOR}{receipt}" for receipt in (member.renew(receipts) if receipts else ())]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self._for_each(
            (index, partial(self.members[index].acknowledge, own)) for index, own in self._by_queue(receipts)
        )

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        leased = {delivery.receipt: delivery for delivery in deliveries}

        def release(index: int, receipts: Sequence[str]) -> None:
            own = [leased[f"{index}{SEPARATOR}{receipt}"]._replace(receipt=receipt) for receipt in receipts]
            self.members[index].release(own, delay, refund_attempt=refund_attempt)

        self._for_each((index, partial(release, index, own)) for index, own in self._by_queue(list(leased)))

    def discard(self, receipts: Sequence[str]) -> None:
        self._for_each((index, partial(self.members[index].discard, own)) for index, own in self._by_queue(receipts))

    def _by_queue(self, receipts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """(index, receipts as the member wrote them) for each member that leased one of them."""
        own: dict[int, list[str]] = defaultdict(list)
        for receipt in receipts:
            index = queue_index(receipt, len(self.members))
            if index is not None:
                own[index].append(receipt.partition(SEPARATOR)[2])
        return iter(own.items())

    def keep_alive(self) -> None:
        for index, member in enumerate(self.members):
            if not self._is_away(index):
                self._try(index, member.keep_alive, None)

    def stop_prefetch(self) -> None:
        for index, member in enumerate(self.members):
            if not self._is_away(index):
                self._try(index, member.stop_prefetch, None)

    @property
    def unconfirmed_acks(self) -> int:
        return sum(member.unconfirmed_acks for member in self.members)

    # ── inspection ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
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


def common_capabilities(able: Sequence[Capabilities]) -> Capabilities:
    """What all of them can do. ``blocking`` is not: one call cannot wait for several servers."""
    common: dict[str, Any] = {
        each.name: all(getattr(one, each.name) for one in able) for each in fields(Capabilities) if each.type == "bool"
    }
    return Capabilities(**{**common, "bulk": max(one.bulk for one in able), "blocking": False, "cancel": False})


def queue_index(receipt: str, members: int) -> int | None:
    """The index in this receipt; None for text that is no receipt of a broker with so many members."""
    index, mark, _ = receipt.partition(SEPARATOR)
    return int(index) if mark and index.isdecimal() and len(index) < 4 and int(index) < members else None
