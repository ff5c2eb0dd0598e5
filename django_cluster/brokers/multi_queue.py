"""Several queues as one: what a cluster with ``-n a,b`` leases from.

Each receipt begins with the place of its queue, so that everything that is said of it later reaches the broker that
lent it. Queues take turns by their weights, and none that has something is left out for long.

Where the queues are on several servers, one that is away is left out until it has answered to ``renew``: what it has
lent and is still running here must be ours again before it lends anything more. The others go on.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

from django_cluster.brokers.base import Broker, Capabilities, Delivery, Message, QueuedMessage, QueueSize
from django_cluster.core.backoff import PAUSE_FACTOR, ReconnectBackoff
from django_cluster.core.codec import Codec
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerError, BrokerUnavailable

Result = TypeVar("Result")

EMPTY_SECONDS = 0.02
"""Seconds for which a queue that was found empty is passed over, while others have something."""
NO_WAIT_SECONDS = 1e-9
"""Seconds of a wait that is over before it has begun, but lets a broker that knows itself idle not look."""
SEPARATOR = "|"


class WeightedRoundRobin:
    """Whose turn it is. Each queue has covered a way, a step for each message, the shorter the heavier it is; the
    one that has come least far is next. While it is empty, a queue saves nothing up."""

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = weights
        self._progress = [0.0] * len(weights)
        self._furthest = 0.0

    def order(self, places: Iterable[int]) -> list[int]:
        return sorted(places, key=lambda place: (self._progress[place], place))

    def served(self, place: int, count: int) -> None:
        self._furthest = max(self._furthest, self._progress[place])
        self._progress[place] += count / self._weights[place]

    def empty(self, place: int) -> None:
        self._progress[place] = max(self._progress[place], self._furthest)

    def share(self, place: int, among: Iterable[int], room: int) -> int:
        """How much of the room is for this one, if all of them have enough."""
        whole = sum(self._weights[each] for each in among)
        return max(1, -(-room * self._weights[place] // whole))


class MultiQueueBroker(Broker):
    """The members, each with its weight. Those on one server share its outages."""

    def __init__(self, members: Sequence[Broker], weights: Sequence[int]) -> None:
        super().__init__(members[0].settings)
        self.members = members
        self.paused = 0
        """A bit for each member from which nothing is to be leased now."""
        woken = any(each.capabilities.blocking and each.can_wait_any for each in members)
        self.capabilities = replace(common_capabilities([member.capabilities for member in members]), blocking=woken)
        databases = {member.database for member in members}
        self.database = databases.pop() if len(databases) == 1 else None
        self._turns = WeightedRoundRobin(weights)
        self._empty_until = [0.0] * len(members)
        self._server = server_numbers([member.settings for member in members])
        """Of each member: the number of its server."""
        self.single_server = max(self._server) == 0
        self._backoffs = [ReconnectBackoff(self._server_title(number)) for number in range(max(self._server) + 1)]

    def _server_title(self, number: int) -> str:
        names = [each.queue for each, server in zip(self.members, self._server, strict=True) if server == number]
        return f"The broker of {', '.join(map(repr, names))}"

    def prepare(self) -> None:
        """All that can be; raises for the first that cannot."""
        self._for_each((place, member.prepare) for place, member in enumerate(self.members))

    def warnings(self) -> Sequence[str]:
        found = [concern for place in range(len(self.members)) for concern in self._warnings_of(place)]
        return list(dict.fromkeys(found))

    def _warnings_of(self, place: int) -> Sequence[str]:
        return () if self._is_away(place) else self._try(place, self.members[place].warnings, ())

    # ── servers that are away ────────────────────────────────────────────────────────────────────

    @property
    def has_due_retry(self) -> bool:
        """Whether a server that was away is to be tried again: by ``renew``, of all that is held."""
        return any(backoff.failing and backoff.due for backoff in self._backoffs)

    def _is_away(self, place: int) -> bool:
        return self._backoffs[self._server[place]].failing

    def _try(self, place: int, act: Callable[[], Result], otherwise: Result) -> Result:
        """What this member answers. If its server is away, the others need not know, unless there are none."""
        if self.single_server:
            return act()
        started = time.monotonic()
        try:
            return act()
        except BrokerError as error:
            # A pause is shorter than what a renewal may be late: what runs here must not be lent to others.
            took = min(time.monotonic() - started, self.members[place].settings.lease / 3 / PAUSE_FACTOR)
            self._backoffs[self._server[place]].failed(error, took)
            return otherwise

    def _for_each(self, acts: Iterable[tuple[int, Callable[[], object]]]) -> None:
        """Do all of this, whatever becomes of one server; raises the first error at the end."""
        failed: dict[int, BrokerError] = {}
        for place, act in acts:
            server = self._server[place]
            if server in failed:
                continue
            try:
                if self._is_away(place):
                    raise BrokerUnavailable(f"{self._server_title(server)} is away.")
                act()
            except BrokerError as error:
                failed[server] = error
        if failed:
            raise next(iter(failed.values()))

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Into the first queue."""
        self.members[0].enqueue(messages)

    # ── lending ──────────────────────────────────────────────────────────────────────────────────

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
        likely = [place for place in available if self._empty_until[place] <= now]
        taken = self._take(likely, limit, wait, not_after)
        if not taken and len(likely) < len(available):
            taken = self._take([place for place in available if place not in likely], limit, wait, not_after)
        return taken

    def _available(self) -> list[int]:
        """Neither paused nor away."""
        return [n for n in range(len(self.members)) if not self.paused >> n & 1 and not self._is_away(n)]

    def _take(self, places: Sequence[int], limit: int, wait: float, not_after: float) -> list[Delivery]:
        """Each its share, and what others have left to those that have more."""
        taken: list[Delivery] = []
        while places and len(taken) < limit:
            room, full = limit - len(taken), []
            for place in self._turns.order(places):
                share = min(self._turns.share(place, places, room), limit - len(taken))
                if share <= 0:
                    break
                try:
                    found = self._lease_from(place, share, wait, not_after)
                except BrokerError:
                    if not taken:
                        raise
                    return taken  # it is lent to us; the next call will meet the same error
                taken += found
                if len(found) == share:
                    full.append(place)
            places = full
        return taken

    def _lease_from(self, place: int, limit: int, wait: float, not_after: float) -> list[Delivery]:
        if self._is_away(place):  # since a moment ago
            return []
        member = self.members[place]
        limit = min(limit, member.capabilities.bulk)
        nothing: Sequence[Delivery] = ()
        found = self._try(place, lambda: member.lease(limit, wait, not_after=not_after), nothing)
        if not found:
            self._turns.empty(place)
            self._empty_until[place] = time.monotonic() + EMPTY_SECONDS
            return []
        self._turns.served(place, len(found))
        return [each._replace(receipt=f"{place}{SEPARATOR}{each.receipt}") for each in found]

    def _sleep(self, seconds: float) -> None:
        """Until one of them may have something; where nothing wakes us for all of them, for one ``poll``."""
        places = self._available()
        members = [self.members[place] for place in places]
        if not members or not self._try(places[0], lambda: members[0].wait_any(members[1:], seconds), True):
            time.sleep(min(seconds, *(member.settings.poll for member in self.members)))

    # ── settling ─────────────────────────────────────────────────────────────────────────────────

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        """Also asks after a server that was away, although it may have lent us nothing."""
        lost = {receipt for receipt in receipts if queue_index(receipt, len(self.members)) is None}
        own = dict(self._by_queue(receipts))
        for place in range(len(self.members)):
            backoff = self._backoffs[self._server[place]]
            if not (place in own or backoff.failing) or not backoff.due:
                continue
            lost.update(self._try(place, partial(self._renew, place, own.get(place, ())), ()))
        for backoff in self._backoffs:
            if backoff.failing and backoff.due:
                backoff.recovered()
        return [receipt for receipt in receipts if receipt in lost]

    def _renew(self, place: int, receipts: Sequence[str]) -> Sequence[str]:
        member = self.members[place]
        if self._is_away(place):
            member.prepare()
            member.ping()
        return [f"{place}{SEPARATOR}{receipt}" for receipt in (member.renew(receipts) if receipts else ())]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self._for_each(
            (place, partial(self.members[place].acknowledge, own)) for place, own in self._by_queue(receipts)
        )

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        leased = {delivery.receipt: delivery for delivery in deliveries}

        def release(place: int, receipts: Sequence[str]) -> None:
            own = [leased[f"{place}{SEPARATOR}{receipt}"]._replace(receipt=receipt) for receipt in receipts]
            self.members[place].release(own, delay, refund_attempt=refund_attempt)

        self._for_each((place, partial(release, place, own)) for place, own in self._by_queue(list(leased)))

    def discard(self, receipts: Sequence[str]) -> None:
        self._for_each((place, partial(self.members[place].discard, own)) for place, own in self._by_queue(receipts))

    def _by_queue(self, receipts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """The receipts of each member, as that member wrote them."""
        own: dict[int, list[str]] = defaultdict(list)
        for receipt in receipts:
            place = queue_index(receipt, len(self.members))
            if place is not None:
                own[place].append(receipt.partition(SEPARATOR)[2])
        return iter(own.items())

    def keep_alive(self) -> None:
        for place, member in enumerate(self.members):
            if not self._is_away(place):
                self._try(place, member.keep_alive, None)

    def stop_prefetch(self) -> None:
        for place, member in enumerate(self.members):
            if not self._is_away(place):
                self._try(place, member.stop_prefetch, None)

    @property
    def unconfirmed_acks(self) -> int:
        return sum(member.unconfirmed_acks for member in self.members)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

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
    """What all of them can do; nobody can wait at several places at once, unless they are beside each other."""
    common: dict[str, Any] = {
        each.name: all(getattr(one, each.name) for one in able) for each in fields(Capabilities) if each.type == "bool"
    }
    return Capabilities(**{**common, "bulk": max(one.bulk for one in able), "blocking": False, "cancel": False})


def server_numbers(sections: Sequence[BrokerSettings]) -> list[int]:
    """The server of each queue, numbered from 0: those that share one are away together."""
    known: list[tuple[str, str, Mapping[str, Any]]] = []
    numbers = []
    for section in sections:
        server = (section.kind, section.class_path, section.options)
        if server not in known:
            known.append(server)
        numbers.append(known.index(server))
    return numbers


def codec_of(codec: Codec, receipt: str) -> Codec:
    """The codec of the queue from which this receipt was leased; ``codec`` itself, where there is one queue."""
    return codec.places[queue_index(receipt, len(codec.places)) or 0] if codec.places else codec


def queue_index(receipt: str, members: int) -> int | None:
    """Which of so many queues has lent under this receipt; None for text that is no receipt of ours."""
    place, mark, _ = receipt.partition(SEPARATOR)
    return int(place) if mark and place.isdecimal() and len(place) < 4 and int(place) < members else None
