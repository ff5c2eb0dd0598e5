"""Rows of the queue table: how messages, leases and moments are written in its columns.

Moments are microseconds since 1970 of the database's clock. ``QueuedTask`` describes ``lane`` and ``due``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from django_cluster.brokers.messages import Message, payload_from
from django_cluster.core.batching import batches
from django_cluster.core.reprs import repr_of
from django_cluster.models.large_payload import LargePayload
from django_cluster.models.queued_task import QueuedTask

NOT_READY_LANE = QueuedTask.NOT_READY_LANE
MICROSECONDS = 1_000_000

FRONT_OFFSET = 10**16
"""Taken off the moment of a row that goes to the front of its lane: three centuries before any other."""

MAX_STATEMENT_ROWS, MAX_STATEMENT_CHARACTERS = 1000, 4_000_000
"""Most rows and characters in one INSERT; servers limit the size of a statement."""

MAX_PROMOTIONS = 1000
"""The most rows that one look makes ready."""

MAX_KEYS_IN_SQL = 10
"""Keys that the database itself looks for among the notes; more are looked for here."""

ACKNOWLEDGED_SECONDS = 300.0
"""For which a message is known after its acknowledgement, to a sender that has missed the answer."""

MAX_LEASE_NUMBER = 1 << 62
"""After a larger lease number (and after one that is none), the numbers begin anew."""
NEXT_LEASE = f"CASE WHEN lease_number BETWEEN 0 AND {MAX_LEASE_NUMBER} THEN lease_number + 1 ELSE 1 END"
READY_LANE = "CASE WHEN priority > 100 THEN -100 WHEN priority < -100 THEN 100 ELSE -priority END"
"""Lane of a ready row. A value outside of the column's range would be an error for the rows of all others, too."""

COLUMNS = "queue, lane, due, priority, lease_number, leased, attempts, payload"
ORDER = "lane, due, id"
INDEX = QueuedTask._meta.indexes[0].name


WithPayload = TypeVar("WithPayload", Message, LargePayload)


class ClaimedRow(NamedTuple):
    """A row that has just been leased."""

    id: int
    lease_number: int
    attempts: int
    payload: str

    def __repr__(self) -> str:
        return repr_of(self, "id", "lease_number", "attempts")


class QueueState(NamedTuple):
    """State of a queue at one moment."""

    ready: bool
    next_due: float | None
    """Seconds until the next parked row is due; None = there is none."""
    now: int
    """Time of the database's clock, in microseconds since 1970."""
    read_only: bool = False
    """Whether the server calls itself read-only; some accounts may write all the same."""


def channel_of(queue: str) -> str:
    """PostgreSQL's notification channel for this queue; names of channels are shorter than those of queues."""
    return f"django_cluster_{hashlib.sha256(queue.encode()).hexdigest()[:16]}"


def delayed_until(message: Message) -> int | None:
    """Microseconds at which a message becomes ready; None = immediately."""
    if message.not_before is None or message.not_before <= time.time():
        return None
    return int(message.not_before * MICROSECONDS)


def statement_batches(messages: Sequence[WithPayload]) -> Iterator[list[WithPayload]]:
    """The messages, or rows, in batches that fit into one statement."""

    def length(message: WithPayload) -> int:
        return len(message.payload)

    return batches(messages, length, most=MAX_STATEMENT_ROWS, room=MAX_STATEMENT_CHARACTERS)


def format_receipt(claimed: ClaimedRow) -> str:
    return f"{claimed.id}:{claimed.lease_number}"


def parse_receipt(receipt: str) -> tuple[int, int] | None:
    """The id and the lease number; None for text that is no receipt of ours."""
    id, _, number = receipt.partition(":")
    return (int(id), int(number)) if id.isdecimal() and number.isdecimal() else None


def decode_column(payload: object) -> str:
    """A payload as ``Dialect.payload`` reads it; a byte that is no UTF-8 becomes ``\\xff``."""
    return payload.decode("utf-8", "backslashreplace") if isinstance(payload, bytes) else payload_from(payload)


def whole_number(value: object) -> int:
    """Value of an integer column; 0 for any other value, which SQLite may keep there as well."""
    return value if type(value) is int else 0
