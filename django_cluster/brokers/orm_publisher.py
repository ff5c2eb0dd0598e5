"""How messages come into the queue table, each of them once, also when they have to be sent a second time.

A connection may break after the database has kept a message and before its answer has come. The sender then sends
again, and must not make a second message. So it gives each message its primary key itself: when it sends again, it
looks first whether the key is in the queue, or among those that were acknowledged a moment ago, because the task may
have run in the meantime. Acknowledging notes the keys (``AcknowledgedMessages``), one row for each batch.
What is sent at the first try, which is nearly everything, asks nothing.

SQLite is part of the sender's process: no answer of it can be lost.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence

from django.db import IntegrityError, connections
from django.db.backends.utils import CursorWrapper

from django_cluster.brokers.messages import Message
from django_cluster.brokers.orm_dialect_base import Dialect
from django_cluster.brokers.orm_dialects import dialect_of
from django_cluster.brokers.orm_rows import MAX_STATEMENT_CHARACTERS, MAX_STATEMENT_ROWS, statement_batches
from django_cluster.core.batching import batches
from django_cluster.core.row_insert import RowInsert
from django_cluster.database.session import Session
from django_cluster.errors import BrokerRefused, BrokerUnavailable

KEY_BITS = 62
"""Keys are positive, and a stream of them never reaches the largest number of the column."""
KEYS_PER_STREAM = 1 << 24
"""How many keys follow each other before another place is chosen."""
CLOCK_MARGIN_SECONDS = 5.0
"""Seconds by which a look for what was acknowledged goes further back than the first try."""
KEY_TRIES = 3
"""How often other keys are chosen when one was taken, which hardly ever happens."""


class KeyStream:
    """Makes keys that no other sender makes: consecutive numbers from a random place."""

    def __init__(self) -> None:
        self._next = self._end = 0

    def take(self, count: int) -> range:
        """``count`` keys in ascending order."""
        if self._next + count > self._end:
            self._next = secrets.randbits(KEY_BITS) + 1
            self._end = self._next + max(count, KEYS_PER_STREAM)
        start = self._next
        self._next += count
        return range(start, self._next)


def key_of_name(queue: str, name: str) -> int:
    """The key of the message of this name, the same in every process."""
    digest = hashlib.sha256(f"{queue}\n{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 2) + 1


class TablePublisher:
    """Puts messages into one queue."""

    def __init__(self, session: Session, queue: str) -> None:
        self._session = session
        self._queue = queue
        self._keys = KeyStream()
        self._unsure: dict[str, float] = {}
        """Names whose sending failed without an answer, and the moment of the first try (monotonic)."""

    @property
    def _dialect(self) -> Dialect:
        return dialect_of(connections[self._session.alias])

    def publish(self, messages: Sequence[Message], beside: RowInsert | None = None) -> None:
        """Keep the messages: all of them, or none and raise. ``beside``: what the same statement inserts elsewhere; the
        messages must fit into one statement then, on PostgreSQL."""
        for _ in range(KEY_TRIES):
            attempt = InsertAttempt(self._dialect, self._queue, messages, self._keys, beside)
            if attempt.run(self._session):
                return
            self._keys = KeyStream()
        raise BrokerRefused("The database has refused the keys of new messages again and again.")

    def publish_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        """Keep each message unless one of its name is in the queue, or an earlier try may have brought it there."""
        dialect, now = self._dialect, time.monotonic()
        keys = [key_of_name(self._queue, name) for name in names]
        began = min((self._unsure[name] for name in names if name in self._unsure), default=None)

        def insert(cursor: CursorWrapper, since: float | None = began) -> None:
            done: set[int] = set()
            if since is not None:
                done = dialect.acknowledged(cursor, keys, time.monotonic() - since + CLOCK_MARGIN_SECONDS)
            left = [(message, key) for message, key in zip(messages, keys, strict=True) if key not in done]
            _insert(cursor, dialect, self._queue, left, known=True)

        def again(cursor: CursorWrapper) -> None:
            insert(cursor, now if began is None else began)

        try:
            self._session.execute(insert, atomic=needs_several_statements(messages), again=again)
        except BrokerUnavailable:
            for name in names:
                self._unsure.setdefault(name, now)
            raise
        self.release_unique(names)

    def release_unique(self, names: Sequence[str]) -> None:
        """The messages of these names will not be sent again."""
        for name in names:
            self._unsure.pop(name, None)


class InsertAttempt:
    """One sending of some messages."""

    def __init__(
        self,
        dialect: Dialect,
        queue: str,
        messages: Sequence[Message],
        keys: KeyStream,
        beside: RowInsert | None = None,
    ) -> None:
        self._dialect, self._queue, self._messages, self._beside = dialect, queue, messages, beside
        self._keys: Sequence[int | None] = [None] * len(messages)
        self._again: Callable[[CursorWrapper], None] | None = None
        if dialect.answers_can_be_lost:
            self._keys, self._again = keys.take(len(messages)), self._insert_unless_kept
        self._began = time.monotonic()
        self._repeated = False

    def run(self, session: Session) -> bool:
        """False if other keys are needed."""
        try:
            session.execute(self._insert, atomic=needs_several_statements(self._messages), again=self._again)
        except BrokerRefused as error:
            if self._again is None or not isinstance(error.__cause__, IntegrityError):
                raise
            # Sent again, it may have met the first try, which the database had not carried out before.
            return self._repeated and session.execute(self._is_kept)
        return True

    def _insert(self, cursor: CursorWrapper) -> None:
        messages = list(zip(self._messages, self._keys, strict=True))
        _insert(cursor, self._dialect, self._queue, messages, beside=self._beside)

    def _insert_unless_kept(self, cursor: CursorWrapper) -> None:
        self._repeated = True
        if not self._is_kept(cursor):
            self._insert(cursor)

    def _is_kept(self, cursor: CursorWrapper) -> bool:
        """Whether the database has kept the first message, and so all of them."""
        key = self._keys[0]
        assert key is not None
        if (payload := self._dialect.payload_of(cursor, key)) is not None:
            return payload == self._messages[0].payload
        return bool(self._dialect.acknowledged(cursor, [key], time.monotonic() - self._began + CLOCK_MARGIN_SECONDS))


def needs_several_statements(messages: Sequence[Message]) -> bool:
    """Whether they do not fit into one statement."""
    return len(messages) > 1 and len(list(statement_batches(messages))) > 1


def _insert(
    cursor: CursorWrapper,
    dialect: Dialect,
    queue: str,
    messages: Sequence[tuple[Message, int | None]],
    *,
    known: bool = False,
    beside: RowInsert | None = None,
) -> None:
    """Insert the messages, each with its key or None. ``known``: leave out those whose key is in the table."""
    for batch in batches(messages, _length, most=MAX_STATEMENT_ROWS, room=MAX_STATEMENT_CHARACTERS):
        keys = [key for _, key in batch if key is not None]
        dialect.insert(cursor, queue, [message for message, _ in batch], keys, known=known, beside=beside)


def _length(message: tuple[Message, int | None]) -> int:
    return len(message[0].payload)
