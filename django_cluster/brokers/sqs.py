"""The queue at Amazon SQS: ten messages in a request, long polling, leases by visibility timeouts.

``CAPABILITIES`` says what SQS cannot do. A message in the queue cannot be changed, so refunding an attempt sends a copy
(``brokers.republishing``), and all times are whole seconds.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize, attempts_from, payload_from
from django_cluster.brokers.republishing import RepublishingBroker
from django_cluster.brokers.sqs_connection import POLL_CALL_SECONDS, SqsConnection, whole_seconds
from django_cluster.core.batching import batches
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable

CALL_MESSAGES = 10
"""Messages in one call."""
MAX_BYTES = 1024 * 1024
"""Largest size of one message, and of all messages of one call."""
ATTRIBUTE_BYTES = 64
"""Bytes of ``MAX_BYTES`` that are not for the payload."""
MAX_DELAY = 900.0
"""Seconds for which SQS delays a message that is sent."""
MAX_AGE = 14 * 86_400.0
"""Seconds of the longest ``MessageRetentionPeriod``; four days unless the queue says otherwise."""
MAX_VISIBILITY = 43_200
"""Seconds (twelve hours) after which SQS delivers a message again, even if its lease is renewed."""
MIN_POLL_SECONDS = 0.05
"""Seconds: a shorter wait is no reason to wait for a whole second, the shortest poll."""
FILL_SECONDS = 0.5
"""Seconds after which what has come is handed on, although there may be more."""
BATCH_TRIES = 3
"""How often a part of a batch that SQS could not take just now is sent."""
ATTEMPTS_ATTRIBUTE = "attempts"
"""The attribute with the attempts that a message brought along."""

CAPABILITIES = Capabilities(
    blocking=True,
    priority=False,
    peek=False,
    fifo=False,
    requeues_first=False,
    atomic=False,
    exact_size=False,
    refunds_attempts=False,
    fenced_receipts=False,
    max_delay=MAX_DELAY,
    max_payload=MAX_BYTES - ATTRIBUTE_BYTES,
    max_age=MAX_AGE,
)


class SqsBroker(RepublishingBroker):
    """One queue of SQS; ``.fifo`` at the end of its name makes it a FIFO queue, which knows no delays."""

    capabilities = CAPABILITIES
    republish_batch = CALL_MESSAGES

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._connection = SqsConnection(settings)
        self._lease_seconds = max(1, min(whole_seconds(settings.lease), MAX_VISIBILITY))
        self.capabilities = capabilities_of(fifo=self._connection.fifo, waits=self._connection.options.poll > 0)

    def prepare(self) -> None:
        """Find or create the queue now, and not in the middle of the work."""
        self.ping()

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Ten in a call; when one of several calls fails, the error says how many messages had been sent."""
        self.check_size(messages)
        sent = 0
        for portion in batches(messages, _size, most=CALL_MESSAGES, room=MAX_BYTES):
            try:
                self._send([self._entry(message) for message in portion])
            except (BrokerUnavailable, BrokerRefused) as error:
                if sent:
                    error.add_note(f"{sent} of {len(messages)} messages had been sent before.")
                raise
            sent += len(portion)

    def _entry(self, message: Message) -> dict[str, Any]:
        entry: dict[str, Any] = {"Id": uuid.uuid4().hex, "MessageBody": message.payload}
        if message.attempts > 0:
            entry["MessageAttributes"] = {
                ATTEMPTS_ATTRIBUTE: {"DataType": "Number", "StringValue": str(message.attempts)}
            }
        if self._connection.fifo:
            # A batch that is sent again, because the answer was lost, is recognised by these names.
            entry["MessageDeduplicationId"] = entry["Id"]
            entry["MessageGroupId"] = self._connection.options.group
        elif message.not_before is not None and (delay := message.not_before - time.time()) > 0:
            entry["DelaySeconds"] = whole_seconds(min(delay, MAX_DELAY))
        return entry

    def _send(self, entries: list[dict[str, Any]]) -> None:
        for _ in range(BATCH_TRIES):
            failed = self._connection.call("send_message_batch", Entries=entries).get("Failed", [])
            if not failed:
                return
            refused = [each for each in failed if each.get("SenderFault")]
            names = {each["Id"] for each in failed}
            if refused:
                raise BrokerRefused(self._words(f"did not take {len(names)} of {len(entries)} messages", refused))
            entries = [entry for entry in entries if entry["Id"] in names]
        raise BrokerUnavailable(self._words(f"could not take {len(entries)} messages", failed))

    def _words(self, what: str, failed: Sequence[dict[str, Any]]) -> str:
        first = failed[0]
        return f"The queue {self._connection.address} {what}: {first.get('Message') or first.get('Code')}"

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        """A call for each ten messages, until one is not filled."""
        started = time.monotonic()
        deliveries: list[Delivery] = []
        while len(deliveries) < limit and time.monotonic() < not_after:
            left = min(started + wait, not_after) - time.monotonic()
            # The service may answer until its poll ends, whatever becomes of us meanwhile.
            until_then = math.floor(max(0.0, min(not_after - time.monotonic(), POLL_CALL_SECONDS)))
            longest = min(self._connection.options.poll, until_then)
            poll = 0 if deliveries or left < MIN_POLL_SECONDS else min(whole_seconds(left), longest)
            wanted = min(CALL_MESSAGES, limit - len(deliveries))
            asked = time.monotonic()
            came = self._receive(wanted, poll)
            if came and self.claimed_too_late(asked + poll, not_after):
                self._release_late(came)
                break
            deliveries += came
            if came:
                if len(came) < wanted or time.monotonic() - started > max(FILL_SECONDS, wait):
                    break
            elif deliveries or time.monotonic() - started >= wait:
                break
            elif not poll:
                time.sleep(min(self.settings.poll, max(0.0, left)))
        return deliveries

    def _receive(self, wanted: int, poll: int) -> list[Delivery]:
        answer = self._connection.call(
            "receive_message",
            MaxNumberOfMessages=wanted,
            WaitTimeSeconds=poll,
            VisibilityTimeout=self._lease_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            MessageAttributeNames=[ATTEMPTS_ATTRIBUTE],
        )
        return [_delivery(message) for message in answer.get("Messages", [])]

    def _release_late(self, came: Sequence[Delivery]) -> None:
        """Release messages that were leased too late. A message that was leased before may still run in the caller's
        cluster under an older receipt, so no copy of it is sent."""
        self.release([each for each in came if each.attempt > 1])
        self.release([each for each in came if each.attempt <= 1], refund_attempt=True)

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        """See ``Broker.renew``. SQS allows twelve hours in total; after that the lease is lost."""
        lost = self._change_visibility(receipts, self._lease_seconds)
        return [receipt for receipt in receipts if receipt in lost]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        self._batches("delete_message_batch", receipts, {})

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """In a FIFO queue, order is worth more than an attempt: without a delay, a message keeps its place there."""
        super().release(deliveries, delay, refund_attempt=refund_attempt and not (self._connection.fifo and delay <= 0))

    def _return(self, receipts: Sequence[str], delay: float = 0.0) -> None:
        self._change_visibility(receipts, min(whole_seconds(delay), MAX_VISIBILITY))

    def _change_visibility(self, receipts: Sequence[str], seconds: int) -> set[str]:
        return self._batches("change_message_visibility_batch", receipts, {"VisibilityTimeout": seconds})

    def _batches(self, action: str, receipts: Sequence[str], more: dict[str, Any]) -> set[str]:
        """Do this for each receipt; returns those that mean nothing to SQS (any more)."""
        known = [receipt for receipt in dict.fromkeys(receipts) if receipt and receipt.isascii()]
        lost = set(receipts) - set(known)
        for batch in batches(known, most=CALL_MESSAGES):
            lost |= self._batch(action, batch, more)
        return lost

    def _batch(self, action: str, receipts: Sequence[str], more: dict[str, Any]) -> set[str]:
        entries = [{"Id": str(number), "ReceiptHandle": each, **more} for number, each in enumerate(receipts)]
        lost: set[str] = set()
        for _ in range(BATCH_TRIES):
            failed = self._connection.call(action, Entries=entries).get("Failed", [])
            lost |= {receipts[int(each["Id"])] for each in failed if each.get("SenderFault")}
            again = {each["Id"] for each in failed if not each.get("SenderFault")}
            if not again:
                return lost
            entries = [entry for entry in entries if entry["Id"] in again]
        raise BrokerUnavailable(self._words(f"could not settle {len(entries)} messages", failed))

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        """See ``Broker.peek``. Always empty: SQS shows no message without delivering it."""
        return []

    def size(self) -> QueueSize:
        """See ``Broker.size``. An estimate of SQS; messages that were released with a delay count as leased."""
        kinds = ("", "Delayed", "NotVisible")
        names = [f"ApproximateNumberOfMessages{kind}" for kind in kinds]
        found = self._connection.call("get_queue_attributes", AttributeNames=names)["Attributes"]
        ready, delayed, leased = (int(found.get(name, 0)) for name in names)
        return QueueSize(ready=ready, delayed=delayed, leased=leased)

    def purge(self) -> int:
        """SQS does it once a minute, and takes up to a minute for it; ``BrokerUnavailable`` if asked more often."""
        total = self.size().total
        try:
            self._connection.call("purge_queue")
        except BrokerUnavailable:
            if total:
                raise
        return total

    def ping(self) -> None:
        self._connection.call("get_queue_attributes", AttributeNames=["QueueArn"])

    def info(self) -> str:
        return f"Amazon SQS, {'FIFO ' if self._connection.fifo else ''}queue {self._connection.address}"

    def close(self) -> None:
        self._connection.close()


def capabilities_of(*, fifo: bool, waits: bool) -> Capabilities:
    """A FIFO queue keeps the order; it delays all of its messages or none."""
    found = replace(CAPABILITIES, blocking=waits)
    return replace(found, fifo=True, delay=False, max_delay=0.0) if fifo else found


def _size(message: Message) -> int:
    return len(message.payload) + ATTRIBUTE_BYTES


def _delivery(message: dict[str, Any]) -> Delivery:
    brought = message.get("MessageAttributes", {}).get(ATTEMPTS_ATTRIBUTE, {}).get("StringValue")
    count = attempts_from(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    return Delivery(message["ReceiptHandle"], payload_from(message.get("Body", "")), attempts_from(brought) + count)
