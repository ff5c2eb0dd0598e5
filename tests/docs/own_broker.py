"""The example of docs/how-to/write-a-broker.md, which shows the part between the two marks."""

from __future__ import annotations

# example begins
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django_cluster.brokers.base import Broker, Capabilities, Delivery, Message, QueuedMessage, QueueSize
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerUnavailable

TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT, payload TEXT, priority INTEGER, attempts INTEGER,
    due REAL,        -- Unix time before which it is not leased: its delay, or the end of its lease
    lease INTEGER,   -- grows with each lease, and when a lease is released: a receipt is "id:lease"
    leased INTEGER   -- 1 while its due time is the end of a lease
)"""
ORDER = "due > :now, CASE WHEN due > :now THEN due END, priority DESC, id"


class FileBroker(Broker):
    """Keeps messages in one SQLite file, which the environment variable ``QUEUE_FILE`` names."""

    capabilities = Capabilities()

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._connection: sqlite3.Connection | None = None
        self._file = os.environ["QUEUE_FILE"]
        self._namespaced = f"{settings.name}:{settings.queue}"

    def enqueue(self, messages: Sequence[Message]) -> None:
        with self._transaction() as cursor:
            now = time.time()
            cursor.executemany(
                "INSERT INTO messages (queue, payload, priority, attempts, due, lease, leased)"
                " VALUES (?, ?, ?, ?, ?, 0, 0)",
                [(self._namespaced, m.payload, m.priority, m.attempts, m.not_before or now) for m in messages],
            )

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        deadline = min(time.monotonic() + wait, not_after)
        while time.monotonic() < not_after:
            if deliveries := self._claim(limit, not_after):
                return deliveries
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(left, self.settings.poll))
        return []

    def _claim(self, limit: int, not_after: float) -> list[Delivery]:
        with self._transaction() as cursor:
            if time.monotonic() >= not_after:  # the transaction may have waited for others
                return []
            now = time.time()
            cursor.execute(
                f"SELECT id, lease + 1, attempts + 1, payload FROM messages WHERE queue = :queue AND due <= :now"
                f" ORDER BY {ORDER} LIMIT :limit",
                {"queue": self._namespaced, "now": now, "limit": limit},
            )
            rows = cursor.fetchall()
            cursor.executemany(
                "UPDATE messages SET lease = ?, attempts = ?, due = ?, leased = 1 WHERE id = ?",
                [(lease, attempt, now + self.settings.lease, id) for id, lease, attempt, _ in rows],
            )
        return [Delivery(f"{id}:{lease}", payload, attempt) for id, lease, attempt, payload in rows]

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        until = time.time() + self.settings.lease
        changed = self._change("SET due = ?, leased = 1", receipts, until)
        return [receipt for receipt in receipts if receipt not in changed]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        with self._transaction() as cursor:
            cursor.executemany("DELETE FROM messages WHERE id || ':' || lease = ?", [(each,) for each in receipts])

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        # With another number its receipt is worth nothing. Its id is lower than those that wait: it is first.
        change = "SET due = ?, attempts = attempts - ?, lease = lease + 1, leased = 0"
        receipts = [delivery.receipt for delivery in deliveries]
        self._change(change, receipts, time.time() + delay, int(refund_attempt))

    def _change(self, change: str, receipts: Sequence[str], *values: float) -> set[str]:
        """Change leased messages; returns the receipts that are still valid."""
        with self._transaction() as cursor:
            changed = set()
            for receipt in receipts:
                cursor.execute(f"UPDATE messages {change} WHERE id || ':' || lease = ?", (*values, receipt))
                if cursor.rowcount:
                    changed.add(receipt)
        return changed

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        with self._transaction() as cursor:
            now = time.time()
            cursor.execute(
                f"SELECT payload, priority, attempts, CASE WHEN due > :now THEN due END, leased AND due > :now"
                f" FROM messages WHERE queue = :queue ORDER BY {ORDER} LIMIT :limit",
                {"queue": self._namespaced, "now": now, "limit": limit},
            )
            return [QueuedMessage(*row) for row in cursor.fetchall()]

    def size(self) -> QueueSize:
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT COALESCE(SUM(due <= :now), 0), COALESCE(SUM(due > :now AND NOT leased), 0),"
                " COALESCE(SUM(due > :now AND leased), 0) FROM messages WHERE queue = :queue",
                {"queue": self._namespaced, "now": time.time()},
            )
            return QueueSize(*cursor.fetchone())

    def purge(self) -> int:
        with self._transaction() as cursor:
            return cursor.execute("DELETE FROM messages WHERE queue = ?", (self._namespaced,)).rowcount

    def ping(self) -> None:
        with self._transaction():
            pass

    def info(self) -> str:
        return f"A queue in {self._file}"

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """All or nothing. Errors of the library become those of the port."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, isolation_level=None)
                self._connection.execute(TABLE)
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
        except sqlite3.Error as error:
            raise BrokerUnavailable(f"The queue in {self._file} is unavailable: {error}") from error


# example ends
