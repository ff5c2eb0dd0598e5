"""The queue at IronMQ, version 3 of its interface: at least once, a hundred messages a call, whole seconds.

What was lent can be ended only by who lent it (``ironmq_holding`` says why), so the pusher settles for the monitor.
When it dies, its successor claims what still runs, and ends it when IronMQ lends it again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django_cluster.brokers.base import Capabilities, Delivery, Message, QueueSize, Waiting, attempts_from, payload_from
from django_cluster.brokers.copies import CopyingBroker
from django_cluster.brokers.ironmq_holding import Held, Holding
from django_cluster.brokers.ironmq_link import IronOptions, Link, Lost
from django_cluster.core.places import hyphenated
from django_cluster.core.portions import portions
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerError

BATCH = 100
"""Messages in one call."""
MAX_BYTES = 256 * 1024
"""Of one call, all of its messages together; some plans of the service allow less."""
ROOM = 256
"""Bytes of ``MAX_BYTES`` that are not for the payload."""
MAX_DELAY = 604_800.0
"""Seconds (a week)."""
MAX_TIMEOUT = 86_400
"""Seconds (a day) of the longest reservation."""
LIFE = 2_592_000
"""Seconds (thirty days, the most there is) after which IronMQ deletes what nobody has done."""
POLL_IN_ONE_CALL = 4
"""Seconds that one call may wait there: a service that is silent for longer is away."""

ABLE = Capabilities(
    priority=False,
    atomic=False,
    exact_size=False,
    front=False,
    peek=False,
    refunds=False,
    receipts_travel=False,
    max_delay=MAX_DELAY,
    max_payload=MAX_BYTES - ROOM,
    max_age=float(LIFE),
)


class IronMQBroker(CopyingBroker):
    """A pull queue ``<site>-<queue>``, or ``<site>`` where both have one name."""

    capabilities = ABLE
    copies_at_once = BATCH

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        options = IronOptions.of(settings.options)
        self._link = Link(options, hyphenated(settings.name, settings.queue))
        self._timeout = min(max(math.ceil(settings.lease), options.minimum_timeout), MAX_TIMEOUT)
        self._holding = Holding()
        self._found = False

    def prepare(self) -> None:
        """Find or create the queue; one that is there is left as it is."""
        if self._link.call("GET") is None:
            self._create()
        self._found = True

    def _create(self) -> None:
        queue = {"type": "pull", "message_timeout": self._timeout, "message_expiration": LIFE}
        self._link.call("PUT", body={"queue": queue})

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, messages: Sequence[Message]) -> None:
        """A hundred in a call; when one of several calls fails, the error says how many messages had been sent."""
        self.refuse_large(messages)
        if not self._found:
            self.prepare()  # a queue that the service makes by itself forgets what is older than a week
        now, sent = time.time(), 0
        for portion in portions([_entry(message, now) for message in messages], _size, most=BATCH, room=MAX_BYTES):
            try:
                if self._link.call("POST", "/messages", {"messages": portion}) is None:
                    self._create()
                    self._link.call("POST", "/messages", {"messages": portion})
            except BrokerError as error:
                if sent:
                    error.add_note(f"{sent} of {len(messages)} messages had been sent before.")
                raise
            sent += len(portion)

    # ── lending ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        """A call for each hundred messages, until one is not filled."""
        deadline = min(time.monotonic() + wait, not_after)
        lent: list[Delivery] = []
        while len(lent) < limit and time.monotonic() < not_after:
            left = 0.0 if lent else deadline - time.monotonic()
            poll = min(int(left), POLL_IN_ONE_CALL)
            wanted = min(BATCH, limit - len(lent))
            asked = time.monotonic()
            came = self._reserve(wanted, poll)
            new = self._accept(came)
            if new and self.came_late(asked + poll, not_after):
                self.release([each.receipt for each in new if each.attempt > 1])  # it may still run in our own cluster
                self.give_back([each for each in new if each.attempt <= 1])
                break
            lent += new
            if len(came) < wanted and (lent or time.monotonic() >= deadline):
                break
            if not came and not poll:
                time.sleep(max(0.0, min(self.settings.poll, deadline - time.monotonic())))
        return lent

    def _reserve(self, wanted: int, poll: int) -> list[dict[str, Any]]:
        body = {"n": wanted, "timeout": self._timeout, "wait": poll}
        answer = self._link.call("POST", "/reservations", body, wait=poll)
        if answer is None:
            self._create()
            return []
        found: list[dict[str, Any]] = answer.get("messages", [])
        return found

    def _accept(self, came: Sequence[dict[str, Any]]) -> list[Delivery]:
        now = time.monotonic()
        lent: list[Delivery] = []
        for message in came:
            id, reservation = str(message["id"]), str(message["reservation_id"])
            new = f"{id}:{reservation}"
            count = attempts_from(message.get("reserved_count", 1))
            held = self._holding.came(id, reservation, self._until(now), now, count)
            if held is None:
                self._delete(new)
            elif held.receipt == new:
                payload, earlier = _opened(payload_from(message.get("body", "")))
                lent.append(Delivery(new, payload, earlier + count))
        return lent

    def _until(self, now: float) -> float:
        return now + self._timeout - 0.5

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        """A call for each: IronMQ has no other way."""
        return [receipt for receipt in receipts if not self._renew(receipt)]

    def _renew(self, receipt: str) -> bool:
        found = self._holding.find(receipt)
        if found is None:
            return False
        message, held = found
        now = time.monotonic()
        body = {"reservation_id": self._holding.reservation(receipt), "timeout": self._timeout}
        try:
            answer = self._link.about(message, "POST", "/touch", body)
        except Lost as lost:
            # It has ended, or it was prolonged and the answer with its new name was lost, with a predecessor perhaps.
            if not lost.gone and self._is_unleased(message, held):
                self._holding.claim(receipt)
                return True
            self._holding.end(receipt)
            return False
        self._holding.hold(receipt, str(answer.get("reservation_id", body["reservation_id"])), self._until(now))
        return True

    def _is_unleased(self, message: str, held: Held | None) -> bool:
        """Whether the message is there and was not leased since; of a predecessor's, only the former is known."""
        try:
            found = self._link.about(message, "GET")
        except Lost:
            return False
        return held is None or found.get("message", found).get("reserved_count") == held.count

    # ── the end of a delivery ────────────────────────────────────────────────────────────────────

    def acknowledge(self, receipts: Sequence[str]) -> None:
        known = [receipt for receipt in dict.fromkeys(receipts) if self._holding.find(receipt)]
        for start in range(0, len(known), BATCH):
            some = known[start : start + BATCH]
            reserved = {receipt.partition(":")[0]: self._holding.reservation(receipt) for receipt in some}
            if self._link.forget(reserved):
                for receipt in some:
                    self._holding.end(receipt)
            else:
                for receipt in some:
                    self._delete(receipt)

    def _delete(self, receipt: str) -> None:
        """One by one, where a batch was refused for the sake of one of them."""
        found = self._holding.find(receipt)
        if found is None:
            return
        message, held = found
        try:
            self._link.about(message, "DELETE", body={"reservation_id": self._holding.reservation(receipt)})
        except Lost as lost:
            if not lost.gone and (held is None or self._is_unleased(message, held)):
                self._holding.done(receipt)
        self._holding.end(receipt)

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, begun: bool = True) -> None:
        """A call for each. What a predecessor has prolonged comes back when its reservation ends."""
        seconds = math.ceil(min(delay, MAX_DELAY))
        for receipt in reversed(dict.fromkeys(receipts)):  # each goes to the front
            if found := self._holding.find(receipt):
                body: dict[str, Any] = {"reservation_id": self._holding.reservation(receipt), "delay": seconds}
                with suppress(Lost):
                    self._link.about(found[0], "POST", "/release", body)
                self._holding.end(receipt)

    def _hold(self, receipts: Sequence[str]) -> set[str]:
        """Without those that a predecessor has prolonged: nobody can delete them, so they come back by themselves."""
        ours = super()._hold(receipts).intersection(held.receipt for held in self._holding.held.values())
        self.release([receipt for receipt in receipts if receipt not in ours])
        return ours

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[Waiting]:
        """Nothing: IronMQ shows what is ready, and neither what is lent nor what is delayed."""
        return []

    def size(self) -> QueueSize:
        """Leased: what this broker holds. What is delayed, and what others hold, counts as ready."""
        answer = self._link.call("GET")
        total = int(answer["queue"].get("size", 0)) if answer else 0
        now = time.monotonic()
        leased = min(total, sum(held.until > now for held in self._holding.held.values()))
        return QueueSize(ready=total - leased, delayed=0, leased=leased)

    def purge(self) -> int:
        total = self.size().total
        self._link.call("DELETE", "/messages", {})
        return total

    def ping(self) -> None:
        self._link.call("GET")

    def info(self) -> str:
        return f"IronMQ, queue {self._link.address}"

    def close(self) -> None:
        self._link.close()


def _size(entry: dict[str, Any]) -> int:
    return len(json.dumps(entry["body"])) + ROOM // 2


def _entry(message: Message, now: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"body": f"{message.attempts}:{message.payload}"}
    if message.not_before is not None and message.not_before > now:
        entry["delay"] = math.ceil(min(message.not_before - now, MAX_DELAY))
    return entry


def _opened(body: str) -> tuple[str, int]:
    """(payload, attempts that it brought along); what others have put there has brought none."""
    count, colon, payload = body.partition(":")
    if not colon or not count.isdecimal() or not count.isascii() or len(count) > 9:
        return body, 0
    return payload, int(count)
