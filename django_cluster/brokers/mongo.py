"""The queue in MongoDB: one document for each message.

``parked`` says whether a document can be leased. Ready documents (False) are ordered by ``rank`` (the negative
priority), ``turn`` (-1: released, before the others) and ``place``. Parked documents wait until ``due``: they are
delayed or leased. Moments are seconds of the server's clock. A document whose lease has ended becomes ready and keeps
the token of that lease until the next one begins; until then its receipt still renews and acknowledges it.

MongoDB has no statement that changes several documents and returns them. So a batch is claimed in three steps: read the
first documents, mark those that are still ready with a new token, and read the documents with that token.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING, DeleteMany, ReturnDocument, UpdateMany, errors
from pymongo.collection import Collection

from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.brokers.mongo_connection import Document, MongoConnection
from django_cluster.brokers.mongo_documents import (
    NO_LEASE,
    delivery_of,
    has_valid_receipt,
    is_number,
    order_of,
    queued_message_of,
)
from django_cluster.brokers.mongo_repair import mend
from django_cluster.core.batching import batches
from django_cluster.core.queue_names import join_escaped
from django_cluster.core.settings import BrokerSettings

MESSAGES = "django_cluster_messages"
"""The collection that holds the messages of all queues."""

ORDER = [("rank", ASCENDING), ("turn", ASCENDING), ("place", ASCENDING)]
CLAIM_FIELDS = {"_id": 1, "payload": 1, "attempts": 1, "rank": 1, "turn": 1, "place": 1}

MAX_PAYLOAD = 16_000_000
"""Bytes: a document has at most 16 MiB, and our labels need a little of it."""

FRONT, IN_LINE = -1, 0
MICROSECONDS = 1_000_000

CHECK_INTERVAL_SECONDS = 0.25
"""Seconds after which a busy broker checks for documents that have become due."""

CHECK_SHARE = 4
"""A check that takes long is repeated after this many times its duration."""

BATCH = 500
"""Documents that are written or claimed in one step."""

PROMOTIONS = 500
"""Due documents that are made ready in one step."""

REPAIR_INTERVAL_SECONDS = 60.0
"""Seconds between two checks for documents of other programs, which are neither ready nor parked."""

CLAIM_TRIES = 3
"""How often a claim is tried when others were quicker each time."""

IDLE_GROWTH, IDLE_SECONDS = 1.25, 1.0
"""Factor by which the pause between two polls grows while nothing comes; at most this many seconds."""


class MongoBroker(Broker):
    """Documents of one collection, shared by all queues of the database."""

    capabilities = Capabilities(bulk=BATCH, cancel=True, atomic=False, max_payload=MAX_PAYLOAD)

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._connection = MongoConnection(settings.options)
        self._key = join_escaped(settings.name, settings.queue)
        self._token_prefix, self._leases = os.urandom(8).hex(), count()
        self._pause = settings.poll
        self._check_at = self._repair_at = self._claimed_at = 0.0
        self._last_place = 0

    @property
    def _messages(self) -> Collection[Document]:
        return self._connection.collection(MESSAGES)

    def prepare(self) -> None:
        """The two indexes: what is ready in its order, and what is parked by its moment."""
        with self._connection.errors():
            self._messages.create_index([("queue", ASCENDING), ("parked", ASCENDING), *ORDER], name="ready")
            self._messages.create_index(
                [("queue", ASCENDING), ("parked", ASCENDING), ("due", ASCENDING)], name="parked"
            )

    def enqueue(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        self.check_size(messages)
        with self._connection.errors():
            now = self._connection.now()
            documents = [self._document(message, now) for message in messages]
            try:
                for batch in batches(documents, most=BATCH):
                    self._messages.insert_many(batch)
            except errors.PyMongoError:
                self._take_back(documents)
                raise

    def _document(self, message: Message, now: float) -> Document:
        later = message.not_before is not None and message.not_before > now
        due = message.not_before or 0.0
        self._last_place = max(self._last_place + 1, int(now * MICROSECONDS))
        return {
            "_id": ObjectId(),
            "queue": self._key,
            "payload": message.payload,
            "rank": -message.priority,
            "turn": IN_LINE,
            "place": int(due * MICROSECONDS) if later else self._last_place,
            "parked": later,
            "due": due if later else 0.0,
            "lease": NO_LEASE,
            "attempts": message.attempts,
        }

    def _take_back(self, documents: Sequence[Document]) -> None:
        """All or none: what a failed call had already written goes again, if the server still listens."""
        try:
            self._messages.delete_many({"_id": {"$in": [document["_id"] for document in documents]}, "lease": NO_LEASE})
        except errors.PyMongoError:
            return  # the caller hears of the first error, which says the same

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        deadline = time.monotonic() + wait
        while time.monotonic() < not_after:
            with self._connection.errors():
                deliveries, due = self._take(min(limit, BATCH), not_after)
            if deliveries and self.claimed_too_late(self._claimed_at, not_after):
                self.release(deliveries, refund_attempt=True)
                return []
            left = min(deadline, not_after) - time.monotonic()
            if deliveries or left <= 0:
                if deliveries:
                    self._pause = self.settings.poll
                return deliveries
            time.sleep(max(0.001, min(left, self._pause, due)))
            self._pause = min(self._pause * IDLE_GROWTH, max(self.settings.poll, IDLE_SECONDS))
        return []

    def _take(self, limit: int, not_after: float) -> tuple[list[Delivery], float]:
        """(deliveries that are ready now, seconds until a message will be)."""
        if (began := time.monotonic()) >= self._check_at:
            self._promote(self._connection.now())
            took = time.monotonic() - began
            self._check_at = time.monotonic() + max(CHECK_INTERVAL_SECONDS, CHECK_SHARE * took)
        if time.monotonic() >= self._repair_at:
            mend(self._messages, {"queue": self._key, "parked": {"$nin": [True, False]}})
            self._repair_at = time.monotonic() + REPAIR_INTERVAL_SECONDS
        if claimed := self._claim(limit, not_after):
            return claimed, 0.0
        due = self._promote(self._connection.now())
        return (self._claim(limit, not_after), 0.0) if due <= 0 else ([], due)

    def _lease_change(self, token: str) -> Document:
        """What makes a ready document a leased one, from now on."""
        until = self._connection.now() + self.settings.lease
        self._claimed_at = time.monotonic()
        return {"$set": {"parked": True, "due": until, "lease": token}, "$inc": {"attempts": 1}}

    def _claim(self, limit: int, not_after: float) -> list[Delivery]:
        """Lease up to ``limit`` ready documents. A lease begins with the statement that marks them, however long the
        search before it took: a server that reads all documents for each statement is slow."""
        token = f"{self._token_prefix}{next(self._leases):x}"
        ready = {"queue": self._key, "parked": False}
        if limit == 1 and time.monotonic() < not_after:
            lend = self._lease_change(token)
            with suppress(errors.WriteError, errors.OperationFailure):  # below it is found out what was refused
                after = ReturnDocument.AFTER
                found = self._messages.find_one_and_update(ready, lend, sort=ORDER, return_document=after)
                return self._deliveries([found], token) if found else []
        sought: list[Any] = []
        for _ in range(CLAIM_TRIES):
            first = [each["_id"] for each in self._messages.find(ready, {"_id": 1}, sort=ORDER, limit=limit)]
            sought += first
            if not first or time.monotonic() >= not_after:
                break
            lend = self._lease_change(token)
            try:
                if self._messages.update_many({**ready, "_id": {"$in": first}}, lend).modified_count:
                    break
            except errors.OperationFailure:
                # One value that nothing can be added to. Others may have been changed before it.
                if not mend(self._messages, {"_id": {"$in": first}}):
                    raise
        return self._deliveries(self._messages.find({"_id": {"$in": sought}, "lease": token}, CLAIM_FIELDS), token)

    def _deliveries(self, leased: Iterable[Document], token: str) -> list[Delivery]:
        """Fields of the documents that a claim has marked."""
        found = sorted(leased, key=order_of)
        strange = [each["_id"] for each in found if not has_valid_receipt(each)]
        if strange:  # they are mended, and leased next
            mend(self._messages, {"_id": {"$in": strange}}, {"parked": False, "lease": NO_LEASE})
        return [delivery_of(each, token) for each in found if each["_id"] not in strange]

    def _promote(self, now: float) -> float:
        """Make ready what is due: ended leases in front, delayed ones behind. Returns the seconds until the next."""
        parked = {"queue": self._key, "parked": True}
        soonest = list(self._messages.find(parked, {"due": 1}, sort=[("due", ASCENDING)], limit=PROMOTIONS))
        if strange := [each["_id"] for each in soonest if not is_number(each.get("due"))]:
            mend(self._messages, {"_id": {"$in": strange}})
            return 0.0
        due = [each["_id"] for each in soonest if each["due"] <= now]
        if due:
            ended = {"_id": {"$in": due}, "parked": True, "due": {"$lte": now}}
            ready = {"parked": False}
            self._messages.update_many({**ended, "lease": {"$ne": NO_LEASE}}, {"$set": {**ready, "turn": FRONT}})
            self._messages.update_many({**ended, "lease": NO_LEASE}, {"$set": ready})
            return 0.0
        return float(soonest[0]["due"]) - now if soonest else math.inf

    # ── ending a lease ───────────────────────────────────────────────────────────────────────────

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        held = _by_token(receipts)
        if not held:
            return list(receipts)
        with self._connection.errors():
            change = {"$set": {"parked": True, "due": self._connection.now() + self.settings.lease}}
            steps = [UpdateMany(filter, change) for filter in map(self._ours, held.items())]
            renewed = self._messages.bulk_write(steps, ordered=False).matched_count
            if renewed == len(set(receipts)):
                return []
            ids = [each for some in held.values() for each in some]
            known = {
                f"{each['_id']}:{each['lease']}" for each in self._messages.find({"_id": {"$in": ids}}, {"lease": 1})
            }
        return [receipt for receipt in receipts if receipt not in known]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        if held := _by_token(receipts):
            with self._connection.errors():
                steps = [DeleteMany(filter) for filter in map(self._ours, held.items())]
                self._messages.bulk_write(steps, ordered=False)

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        held = _by_token([delivery.receipt for delivery in deliveries])
        if not held:
            return
        with self._connection.errors():
            due = self._connection.now() + delay
            parked = {"parked": True, "due": due, "turn": IN_LINE, "place": int(due * MICROSECONDS), "lease": NO_LEASE}
            ready = {"parked": False, "due": 0.0, "turn": FRONT, "lease": NO_LEASE}
            change: Mapping[str, Any] = {
                "$set": parked if delay > 0 else ready,
                "$inc": {"attempts": -1 if refund_attempt else 0},
            }
            steps = [UpdateMany(filter, change) for filter in map(self._ours, held.items())]
            self._messages.bulk_write(steps, ordered=False)

    def _ours(self, held: tuple[str, Sequence[ObjectId]]) -> Document:
        """The documents of one lease that were not leased again since, be it that it has ended."""
        token, ids = held
        return {"_id": {"$in": list(ids)}, "lease": token}

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        with self._connection.errors():
            ready = list(self._messages.find({"queue": self._key, "parked": False}, sort=ORDER, limit=limit))
            by_moment = [("due", ASCENDING)]
            rest = limit - len(ready)
            parked = (
                self._messages.find({"queue": self._key, "parked": True}, sort=by_moment, limit=rest) if rest else ()
            )
            return [queued_message_of(each) for each in (*ready, *parked)]

    def cancel(self, keys: Sequence[str]) -> int:
        ids = [ObjectId(key) for key in keys if ObjectId.is_valid(key)]
        with self._connection.errors():
            not_lent = {"$or": [{"lease": NO_LEASE}, {"due": {"$lte": self._connection.now()}}]}
            waiting = {"_id": {"$in": ids}, "queue": self._key, **not_lent}
            return int(self._messages.delete_many(waiting).deleted_count)

    def size(self) -> QueueSize:
        with self._connection.errors():
            later = {"queue": self._key, "parked": True, "due": {"$gt": self._connection.now()}}
            total = self._messages.count_documents({"queue": self._key})
            parked = self._messages.count_documents(later)
            delayed = self._messages.count_documents({**later, "lease": NO_LEASE})
        return QueueSize(ready=total - parked, delayed=delayed, leased=parked - delayed)

    def purge(self) -> int:
        with self._connection.errors():
            return int(self._messages.delete_many({"queue": self._key}).deleted_count)

    def ping(self) -> None:
        with self._connection.errors():
            self._connection.client.admin.command("ping")

    def info(self) -> str:
        with self._connection.errors():
            version = self._connection.client.admin.command("buildInfo").get("version", "")
        return f"MongoDB {version} at {self._connection.address}"

    def close(self) -> None:
        self._connection.close()


def _by_token(receipts: Sequence[str]) -> dict[str, list[ObjectId]]:
    """Token of a lease → ids of its documents. Text that is no receipt is ignored."""
    held: dict[str, list[ObjectId]] = defaultdict(list)
    for receipt in dict.fromkeys(receipts):
        id, _, token = receipt.partition(":")
        if token and ObjectId.is_valid(id):
            held[token].append(ObjectId(id))
    return held
