"""The queue at IronMQ, version 3 of its API: up to a hundred messages in a request, whole seconds.

Only the process that leased a message can end its lease (see ``ironmq_unacked``), so the pusher acknowledges for the
monitor. When the pusher dies, its successor claims the running messages, and ends them when IronMQ delivers them again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.ironmq_connection import IronConnection, IronOptions, ReservationLost
from django_cluster.brokers.ironmq_unacked import Reservation, Reservations
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize, attempts_from, payload_from
from django_cluster.brokers.republishing import RepublishingBroker
from django_cluster.core.batching import batches
from django_cluster.core.queue_names import hyphenated_name
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerError

CALL_MESSAGES = 100
"""Messages in one call."""
MAX_BYTES = 256 * 1024
"""Largest size of all messages of one call; some plans of the service allow less."""
ENVELOPE_BYTES = 256
"""Bytes of ``MAX_BYTES`` that are not for the payload."""
MAX_DELAY = 604_800.0
"""Seconds (a week)."""
MAX_TIMEOUT = 86_400
"""Seconds (a day) of the longest reservation."""
LIFETIME_SECONDS = 2_592_000
"""Seconds (thirty days, the maximum) after which IronMQ deletes a message, done or not."""
POLL_CALL_SECONDS = 4
"""Seconds that one call may wait there: a service that is silent for longer is away."""

CAPABILITIES = Capabilities(
    priority=False,
    atomic=False,
    exact_size=False,
    requeues_first=False,
    peek=False,
    refunds_attempts=False,
    portable_receipts=False,
    max_delay=MAX_DELAY,
    max_payload=MAX_BYTES - ENVELOPE_BYTES,
    max_age=float(LIFETIME_SECONDS),
)


class IronMQBroker(RepublishingBroker):
    """A pull queue ``<namespace>-<queue>``, or ``<namespace>`` where both have one name."""

    capabilities = CAPABILITIES
    republish_batch = CALL_MESSAGES

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        options = IronOptions.of(settings.options)
        self._connection = IronConnection(options, hyphenated_name(settings.name, settings.queue))
        self._timeout = min(max(math.ceil(settings.lease), options.minimum_timeout), MAX_TIMEOUT)
        self._reservations = Reservations()
        self._found = False

    def prepare(self) -> None:
        """Find or create the queue; one that is there is left as it is."""
        if self._connection.call("GET") is None:
            self._create()
        self._found = True

    def _create(self) -> None:
        queue = {"type": "pull", "message_timeout": self._timeout, "message_expiration": LIFETIME_SECONDS}
        self._connection.call("PUT", body={"queue": queue})

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, messages: Sequence[Message]) -> None:
        """A hundred in a call; when one of several calls fails, the error says how many messages had been sent."""
        self.check_size(messages)
        if not self._found:
            self.prepare()  # a queue that the service makes by itself forgets what is older than a week
        now, sent = time.time(), 0
        for portion in batches(
            [_entry(message, now) for message in messages], _size, most=CALL_MESSAGES, room=MAX_BYTES
        ):
            try:
                if self._connection.call("POST", "/messages", {"messages": portion}) is None:
                    self._create()
                    self._connection.call("POST", "/messages", {"messages": portion})
            except BrokerError as error:
                if sent:
                    error.add_note(f"{sent} of {len(messages)} messages had been sent before.")
                raise
            sent += len(portion)

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        """A call for each hundred messages, until one is not filled."""
        deadline = min(time.monotonic() + wait, not_after)
        leased: list[Delivery] = []
        while len(leased) < limit and time.monotonic() < not_after:
            left = 0.0 if leased else deadline - time.monotonic()
            poll = min(int(left), POLL_CALL_SECONDS)
            wanted = min(CALL_MESSAGES, limit - len(leased))
            asked = time.monotonic()
            came = self._reserve(wanted, poll)
            new = self._accept(came)
            if new and self.claimed_too_late(asked + poll, not_after):
                self.release([each for each in new if each.attempt > 1])  # it may still run in our own cluster
                self.release([each for each in new if each.attempt <= 1], refund_attempt=True)
                break
            leased += new
            if len(came) < wanted and (leased or time.monotonic() >= deadline):
                break
            if not came and not poll:
                time.sleep(max(0.0, min(self.settings.poll, deadline - time.monotonic())))
        return leased

    def _reserve(self, wanted: int, poll: int) -> list[dict[str, Any]]:
        body = {"n": wanted, "timeout": self._timeout, "wait": poll}
        answer = self._connection.call("POST", "/reservations", body, wait=poll)
        if answer is None:
            self._create()
            return []
        found: list[dict[str, Any]] = answer.get("messages", [])
        return found

    def _accept(self, came: Sequence[dict[str, Any]]) -> list[Delivery]:
        now = time.monotonic()
        leased: list[Delivery] = []
        for message in came:
            id, reservation = str(message["id"]), str(message["reservation_id"])
            new = f"{id}:{reservation}"
            count = attempts_from(message.get("reserved_count", 1))
            held = self._reservations.came(id, reservation, self._until(now), now, count)
            if held is None:
                self._delete(new)
            elif held.receipt == new:
                payload, earlier = _opened(payload_from(message.get("body", "")))
                leased.append(Delivery(new, payload, earlier + count))
        return leased

    def _until(self, now: float) -> float:
        return now + self._timeout - 0.5

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        """A call for each: IronMQ has no other way."""
        return [receipt for receipt in receipts if not self._renew(receipt)]

    def _renew(self, receipt: str) -> bool:
        found = self._reservations.find(receipt)
        if found is None:
            return False
        message, held = found
        now = time.monotonic()
        body = {"reservation_id": self._reservations.reservation(receipt), "timeout": self._timeout}
        try:
            answer = self._connection.about(message, "POST", "/touch", body)
        except ReservationLost as lost:
            # It has ended, or it was prolonged and the answer with its new name was lost, with a predecessor perhaps.
            if not lost.gone and self._is_unleased(message, held):
                self._reservations.claim(receipt)
                return True
            self._reservations.end(receipt)
            return False
        self._reservations.hold(receipt, str(answer.get("reservation_id", body["reservation_id"])), self._until(now))
        return True

    def _is_unleased(self, message: str, held: Reservation | None) -> bool:
        """Whether the message is there and was not leased since; of a predecessor's, only the former is known."""
        try:
            found = self._connection.about(message, "GET")
        except ReservationLost:
            return False
        return held is None or found.get("message", found).get("reserved_count") == held.count

    # ── the end of a delivery ────────────────────────────────────────────────────────────────────

    def acknowledge(self, receipts: Sequence[str]) -> None:
        known = [receipt for receipt in dict.fromkeys(receipts) if self._reservations.find(receipt)]
        for batch in batches(known, most=CALL_MESSAGES):
            reserved = {receipt.partition(":")[0]: self._reservations.reservation(receipt) for receipt in batch}
            if self._connection.forget(reserved):
                for receipt in batch:
                    self._reservations.end(receipt)
            else:
                for receipt in batch:
                    self._delete(receipt)

    def _delete(self, receipt: str) -> None:
        """One by one, where a batch was refused for the sake of one of them."""
        found = self._reservations.find(receipt)
        if found is None:
            return
        message, held = found
        try:
            self._connection.about(message, "DELETE", body={"reservation_id": self._reservations.reservation(receipt)})
        except ReservationLost as lost:
            if not lost.gone and (held is None or self._is_unleased(message, held)):
                self._reservations.done(receipt)
        self._reservations.end(receipt)

    def _return(self, receipts: Sequence[str], delay: float = 0.0) -> None:
        """A call for each. What a predecessor has prolonged comes back when its reservation ends."""
        seconds = math.ceil(min(delay, MAX_DELAY))
        for receipt in reversed(dict.fromkeys(receipts)):  # each goes to the front
            if found := self._reservations.find(receipt):
                body: dict[str, Any] = {"reservation_id": self._reservations.reservation(receipt), "delay": seconds}
                with suppress(ReservationLost):
                    self._connection.about(found[0], "POST", "/release", body)
                self._reservations.end(receipt)

    def _renewed(self, receipts: Sequence[str]) -> set[str]:
        """Receipts that can be republished: not those renewed by an earlier pusher, which cannot be deleted here."""
        ours = super()._renewed(receipts).intersection(held.receipt for held in self._reservations.held.values())
        self._return([receipt for receipt in receipts if receipt not in ours])
        return ours

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        """See ``Broker.peek``. Always empty: IronMQ shows neither leased nor delayed messages."""
        return []

    def size(self) -> QueueSize:
        """Leased: what this broker holds. What is delayed, and what others hold, counts as ready."""
        answer = self._connection.call("GET")
        total = int(answer["queue"].get("size", 0)) if answer else 0
        now = time.monotonic()
        leased = min(total, sum(held.until > now for held in self._reservations.held.values()))
        return QueueSize(ready=total - leased, delayed=0, leased=leased)

    def purge(self) -> int:
        total = self.size().total
        self._connection.call("DELETE", "/messages", {})
        return total

    def ping(self) -> None:
        self._connection.call("GET")

    def info(self) -> str:
        return f"IronMQ, queue {self._connection.address}"

    def close(self) -> None:
        self._connection.close()


def _size(entry: dict[str, Any]) -> int:
    return len(json.dumps(entry["body"])) + ENVELOPE_BYTES // 2


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
