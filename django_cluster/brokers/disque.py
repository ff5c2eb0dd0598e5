"""The queue in Disque: one job for each message, leases renewed by WORKING.

A job keeps its id for its whole life, so a receipt is the id and the two counters of the job, which tell one lease from
the next: ``additional-deliveries`` counts attempts, ``nacks`` counts refunded leases. The time after which Disque
requeues a job is a property of the job, set when it is added, and starts when it is *queued*: so a leased job is
renewed immediately. A job cannot be changed: releasing it with a delay adds a copy with its count of attempts and
acknowledges the original. A process that is killed in between leaves both.
"""

from __future__ import annotations

import heapq
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.disque_connection import DisqueConnection
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.core.batching import batches
from django_cluster.core.queue_names import join_escaped
from django_cluster.core.settings import BrokerSettings

LIFETIME_SECONDS = 45 * 86_400
"""Seconds after which Disque deletes a job, done or not; an id has room for no more."""
MAX_DELAY = 14 * 86_400.0
"""Seconds for which a job may be delayed: WORKING is refused in the second half of its life."""
JITTER_SECONDS = 0.5
"""Seconds by which Disque brings a job back earlier or later than was said, so that nodes do not do it together."""
REPLICATION_MS = 3000
"""Milliseconds for the other nodes to take their copies."""
SCAN_COUNT = 1000
"""Jobs that are looked through in one call."""

RECEIPT = re.compile(r"(D[-I][0-9A-Za-z+/=-]{20,60}):([0-9]{1,9}):([0-9]{1,9})", re.ASCII)

CAPABILITIES = Capabilities(
    blocking=True,
    priority=False,
    fifo=False,
    atomic=False,
    exact_size=False,
    fenced_receipts=False,
    max_delay=MAX_DELAY,
    max_age=float(LIFETIME_SECONDS),
)


class JobLease(NamedTuple):
    """The parts of a receipt: job id and the two counters at the time of the lease."""

    id: str
    deliveries: int
    nacks: int


class DisqueBroker(Broker):
    """One queue of a cluster of Disque, ``django_cluster:<namespace>:<queue>``."""

    capabilities = CAPABILITIES

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._connection = DisqueConnection(settings.options)
        self._key = f"django_cluster:{join_escaped(settings.name, settings.queue)}"
        self._retry = math.ceil(settings.lease + JITTER_SECONDS)

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, messages: Sequence[Message]) -> None:
        """In one go; when a node takes only some of them, the error says how many."""
        if not messages:
            return
        with self._connection.errors():
            now = time.time()
            self._add([(each.payload, each.attempts, (each.not_before or now) - now) for each in messages])

    def _add(self, jobs: Sequence[tuple[str, int, float]]) -> None:
        """(payload, attempts so far, seconds of delay) each."""
        answers = self._connection.ask(*(self._addition(*job) for job in jobs), again=False)
        failed = [answer for answer in answers if isinstance(answer, ResponseError)]
        if failed:
            failed[0].add_note(f"{len(jobs) - len(failed)} of {len(jobs)} messages have been sent.")
            raise failed[0]

    def _addition(self, payload: str, attempts: int, delay: float) -> list[Any]:
        later = ["DELAY", math.ceil(min(delay, MAX_DELAY))] if delay > 0 else []
        command = ["ADDJOB", self._key, f"{attempts}:{payload}", REPLICATION_MS]
        return [*command, "RETRY", self._retry, "TTL", LIFETIME_SECONDS, *later]

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        deadline = min(time.monotonic() + wait, not_after)
        with self._connection.errors():
            while (asked := time.monotonic()) < not_after:
                left = min(deadline - time.monotonic(), self._connection.max_block)
                patience = ["TIMEOUT", math.ceil(left * 1000)] if left > 0 else ["NOHANG"]
                (jobs,) = self._connection.call(
                    ["GETJOB", *patience, "COUNT", limit, "WITHCOUNTERS", "FROM", self._key],
                )
                if jobs:
                    leased = [_delivery(job) for job in jobs]
                    if self.claimed_too_late(asked + max(0.0, left), not_after):
                        self.release(leased, refund_attempt=True)
                        return []
                    # An answer may be an error: half of its life is over. It is leased nevertheless, once.
                    self._connection.ask(*(["WORKING", job[1]] for job in jobs))
                    return leased
                if time.monotonic() >= deadline:
                    return []
        return []

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        """See ``Broker.renew``. Extends by the ``retry`` of the sender; refused in the second half of a job's life."""
        with self._connection.errors():
            held = [receipt for receipt, job in self._jobs(receipts).items() if job]
            answers = self._connection.ask(*(["WORKING", _lease(receipt).id] for receipt in held)) if held else []
        renewed = {receipt for receipt, answer in zip(held, answers, strict=True) if isinstance(answer, int)}
        return [receipt for receipt in receipts if receipt not in renewed]

    def _jobs(self, receipts: Sequence[str], *, or_ended: bool = False) -> dict[str, Mapping[str, Any] | None]:
        """Receipt → job, of the receipts whose lease is alive; None for a job that the node does not know.

        ``or_ended``: also those whose lease has ended, and that wait in the queue for the next.

        Disque can do nothing under a condition: between this look and the deed there remains a moment.
        """
        known = [receipt for receipt in dict.fromkeys(receipts) if RECEIPT.fullmatch(receipt)]
        if not known:
            return {}
        shown = self._connection.ask(*(["SHOW", _lease(receipt).id] for receipt in known))
        found: dict[str, Mapping[str, Any] | None] = {}
        for receipt, answer in zip(known, shown, strict=True):
            if isinstance(answer, ResponseError):
                raise answer
            job = _fields(answer) if answer else None
            if job is None or _is_lent(job, _lease(receipt)) or (or_ended and _has_ended(job, _lease(receipt))):
                found[receipt] = job
        return found

    # ── the end of a delivery ────────────────────────────────────────────────────────────────────

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """The node forwards what concerns a job of another node."""
        with self._connection.errors():
            self._acknowledge([_lease(receipt).id for receipt in self._jobs(receipts, or_ended=True)])

    def _acknowledge(self, ids: Sequence[str]) -> None:
        for batch in batches(ids, most=SCAN_COUNT):
            self._connection.call(["ACKJOB", *batch])

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        with self._connection.errors():
            receipts = [delivery.receipt for delivery in deliveries]
            jobs = {receipt: job for receipt, job in self._jobs(receipts).items() if job}
            ids = [_lease(receipt).id for receipt in jobs]
            if not ids:
                return
            if delay <= 0:
                self._connection.call(["NACK" if refund_attempt else "ENQUEUE", *ids])
                return
            copies = [
                (*_opened(job["body"]), job["additional-deliveries"] + (not refund_attempt)) for job in jobs.values()
            ]
            self._add([(payload, earlier + leases, delay) for payload, earlier, leases in copies])
            self._acknowledge(ids)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        """See ``Broker.peek``. Shows the jobs of one node."""
        with self._connection.errors():
            (queued,) = self._connection.call(["QPEEK", self._key, limit])
            shown = self._connection.call(*(["SHOW", job[1]] for job in queued)) if queued else []
            waiting = [_waiting(_fields(job)) for job in shown if job]
            rest = limit - len(waiting)
            if rest <= 0:
                return waiting[:limit]
            parked = (_waiting(_fields(job)) for job in self._scan("all", "active"))
            return [*waiting, *heapq.nsmallest(rest, parked, key=lambda each: each.due or 0.0)]

    def _scan(self, reply: str, *states: str) -> Iterator[Any]:
        """The jobs of the queue in these states."""
        wanted = [word for state in states for word in ("STATE", state)]
        cursor = b"0"
        while True:
            ((cursor, jobs),) = self._connection.call(
                ["JSCAN", cursor, "COUNT", SCAN_COUNT, "QUEUE", self._key, *wanted, "REPLY", reply]
            )
            yield from jobs
            if cursor == b"0":
                return

    def size(self) -> QueueSize:
        """The size that one node reports; delayed jobs count as leased."""
        with self._connection.errors():
            (ready,) = self._connection.call(["QLEN", self._key])
            return QueueSize(ready=ready, delayed=0, leased=sum(1 for _ in self._scan("id", "active")))

    def purge(self) -> int:
        """See ``Broker.purge``. Deletes the jobs of one node, which tells the others."""
        with self._connection.errors():
            ids = [job.decode() for job in self._scan("id", "queued", "active")]
            self._acknowledge(ids)
            return len(ids)

    def ping(self) -> None:
        with self._connection.errors():
            self._connection.call(["PING"])

    def info(self) -> str:
        with self._connection.errors():
            return f"Disque {self._connection.version()} at {self._connection.address}"

    def close(self) -> None:
        self._connection.close()


def _lease(receipt: str) -> JobLease:
    """The parts of a valid receipt."""
    id, deliveries, nacks = receipt.split(":")
    return JobLease(id, int(deliveries), int(nacks))


def _opened(body: bytes) -> tuple[str, int]:
    """(payload, attempts that it brought along); what others have put there has brought none."""
    count, colon, payload = body.partition(b":")
    if not colon or not count.isdigit() or len(count) > 9:
        count, payload = b"0", body
    return payload.decode("ascii", "backslashreplace"), int(count)


def _delivery(job: Sequence[Any]) -> Delivery:
    _, id, body, _, nacks, _, deliveries = job
    payload, earlier = _opened(body)
    return Delivery(f"{id.decode()}:{deliveries}:{nacks}", payload, earlier + deliveries + 1)


def _fields(answer: Sequence[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(answer[::2], answer[1::2], strict=True)}


def _is_lent(job: Mapping[str, Any], lease: JobLease) -> bool:
    return job["state"] == b"active" and (job["additional-deliveries"], job["nacks"]) == lease[1:]


def _has_ended(job: Mapping[str, Any], lease: JobLease) -> bool:
    """Whether the lease has ended and the job was not leased since. Released jobs look the same."""
    return job["state"] == b"queued" and (job["additional-deliveries"] - 1, job["nacks"]) == lease[1:]


def _waiting(job: Mapping[str, Any]) -> QueuedMessage:
    payload, earlier = _opened(job["body"])
    if job["state"] == b"queued":
        return QueuedMessage(payload, 0, earlier + job["additional-deliveries"], None, False)
    now = time.time()
    never_queued = not job["additional-deliveries"] and not job["nacks"]
    delayed = never_queued and job["delay"] > 0 and job["ctime"] / 1e9 + job["delay"] > now
    due = now + (job["next-requeue-within"] or 0) / 1000
    return QueuedMessage(payload, 0, earlier + job["additional-deliveries"] + (not delayed), due, not delayed)
