"""The SQL of the queue table that all families of databases share.

All moments come from the clock of the database, in microseconds, and are constant during a statement."""

# ruff: noqa: S608  what is put into the SQL here is ours: the name of our table, constants, and integers

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cluster.brokers.messages import Message
from django_cluster.brokers.orm_rows import (
    ACKNOWLEDGED_SECONDS,
    COLUMNS,
    FRONT_OFFSET,
    MAX_KEYS_IN_SQL,
    MAX_PROMOTIONS,
    MICROSECONDS,
    NOT_READY_LANE,
    ORDER,
    READY_LANE,
    ClaimedRow,
    QueueState,
    delayed_until,
    parse_receipt,
)
from django_cluster.core.row_insert import RowInsert
from django_cluster.database.clock import FOREVER
from django_cluster.database.dialect import READ_ONLY
from django_cluster.models.acknowledged_messages import AcknowledgedMessages
from django_cluster.models.queued_task import QueuedTask


class Dialect:
    """SQL that all families share. Column names need no quotes in any of them."""

    now: ClassVar[str]
    pairs: ClassVar[str] = "({})"
    """How a list of pairs is written behind IN."""
    payload: ClassVar[str] = "payload"
    """How the payload is read; SQLite's driver raises for bytes in a column for text that are no UTF-8."""
    known: ClassVar[str] = " ON CONFLICT (id) DO NOTHING"
    """Behind an INSERT that leaves out the rows whose key is taken."""
    answers_can_be_lost: ClassVar[bool] = True
    """Whether a statement may be carried out without its sender ever hearing of it."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.table = connection.ops.quote_name(QueuedTask._meta.db_table)
        self.acknowledged_table = connection.ops.quote_name(AcknowledgedMessages._meta.db_table)

    def insert(
        self,
        cursor: CursorWrapper,
        queue: str,
        messages: Sequence[Message],
        keys: Sequence[int] = (),
        *,
        known: bool = False,
        beside: RowInsert | None = None,
    ) -> None:
        """One statement, so that all of the messages are kept or none.

        ``keys``: the primary keys of all messages, or none, and the database makes them. ``known``: messages whose
        key is in the table are left out. ``beside``: another INSERT that is part of the statement, on PostgreSQL.
        """
        rows: list[str] = []
        params: list[str | int] = []
        for place, message in enumerate(messages):
            due = delayed_until(message)
            key = f"{keys[place]}, " if keys else ""
            # Keys that are known before do not ascend: the order of the messages is in the moments.
            moment = str(due) if due is not None else f"{self.now} + {place}" if known else self.now
            rows.append(f"({key}%s, %s, {moment}, %s, 0, FALSE, {message.attempts}, %s)")
            params += [queue, -message.priority if due is None else NOT_READY_LANE, message.priority, message.payload]
        columns = f"{'id, ' if keys else ''}{COLUMNS}"
        statement = f"INSERT INTO {self.table} ({columns}) VALUES {', '.join(rows)}{self.known if known else ''}"
        cursor.execute(*self.complete(statement, params, queue, beside))

    def complete(
        self, statement: str, params: Sequence[Any], queue: str, beside: RowInsert | None
    ) -> tuple[str, Sequence[Any]]:
        """An INSERT into the queue with what belongs to it, and all parameters."""
        return self.with_notify(statement, queue), params

    def payload_of(self, cursor: CursorWrapper, key: int) -> str | None:
        """Payload of the message with this key; None if it is not in the table."""
        cursor.execute(f"SELECT payload FROM {self.table} WHERE id = %s", [key])
        row = cursor.fetchone()
        return row[0] if row else None

    def acknowledge(self, cursor: CursorWrapper, receipts: Sequence[str]) -> None:
        """Delete the rows that were leased last under these receipts."""
        held, params = self.lease_condition(receipts)
        cursor.execute(f"DELETE FROM {self.table} WHERE {held}", params)

    def acknowledged(self, cursor: CursorWrapper, keys: Sequence[int], seconds: float) -> set[int]:
        """Which of the messages of these keys were acknowledged in the last ``seconds``."""
        few = [f"%,{key},%" for key in keys] if len(keys) <= MAX_KEYS_IN_SQL else []
        which = f" AND ({' OR '.join(['message_keys LIKE %s'] * len(few))})" if few else ""
        since = f"acknowledged_at >= {self.now} - %s"
        query = f"SELECT message_keys FROM {self.acknowledged_table} WHERE {since}{which}"
        cursor.execute(query, [int(seconds * MICROSECONDS), *few])
        return {int(key) for (names,) in cursor.fetchall() for key in names.strip(",").split(",")}.intersection(keys)

    def forget_acknowledged(self, cursor: CursorWrapper) -> None:
        """Delete the notes that no sender will ask for."""
        query = f"DELETE FROM {self.acknowledged_table} WHERE acknowledged_at < {self.now} - %s"
        cursor.execute(query, [int(ACKNOWLEDGED_SECONDS * MICROSECONDS)])

    def with_notify(self, statement: str, queue: str) -> str:
        """The statement that also wakes those who sleep at the queue, where the database can."""
        return statement

    def read_state(self, cursor: CursorWrapper, queue: str) -> QueueState:
        """See what is ready and what the clock shows; takes no lock."""
        rows, server = (
            f"FROM {self.table} WHERE queue = %s AND lane",
            f"{self.now}, {READ_ONLY[self.connection.vendor]}",
        )
        cursor.execute(
            f"SELECT (SELECT 1 {rows} < {NOT_READY_LANE} ORDER BY {ORDER} LIMIT 1),"
            f" (SELECT due {rows} = {NOT_READY_LANE} ORDER BY {ORDER} LIMIT 1), {server}",
            [queue, queue],
        )
        ready, due, now, read_only = cursor.fetchone()
        # In SQLite, a column for numbers may hold anything.
        seconds = (due - now) / MICROSECONDS if isinstance(due, int | float) else None
        return QueueState(ready is not None, seconds, int(now), read_only=bool(read_only))

    def check_writable(self, cursor: CursorWrapper) -> None:
        """A write that changes no row: an error where nothing can be written."""
        cursor.execute(f"DELETE FROM {self.acknowledged_table} WHERE id = 0")

    def claim(
        self, cursor: CursorWrapper, queue: str, limit: int, lease: float, latest: int = FOREVER
    ) -> list[ClaimedRow]:
        """Lease up to ``limit`` ready rows, in their order; none if the database's clock is past ``latest``."""
        raise NotImplementedError

    def promote(self, cursor: CursorWrapper, queue: str, latest: int = FOREVER, *, lapsed: bool = True) -> int:
        """Make ready what is due; rows whose lease has ended go to the front. Returns how many.

        None if the database's clock is past ``latest``; without ``lapsed``, only rows that were never leased or
        were released.
        """
        cursor.execute(f"{self.promotion} WHERE id IN ({self.overdue(lapsed)})", [queue, latest])
        return int(cursor.rowcount)

    @property
    def promotion(self) -> str:
        # MariaDB assigns from left to right: "leased" is read before it is changed.
        return (
            f"UPDATE {self.table} SET lane = {READY_LANE},"
            f" due = CASE WHEN leased AND due > -{FRONT_OFFSET} THEN due - {FRONT_OFFSET} ELSE due END, leased = FALSE"
        )

    def overdue(self, lapsed: bool) -> str:
        """The rows to promote; its parameters are the queue and the latest moment."""
        return f"{self._overdue(lapsed)} ORDER BY {ORDER} LIMIT {MAX_PROMOTIONS}"

    def _overdue(self, lapsed: bool) -> str:
        which = "" if lapsed else " AND NOT leased"
        moment = f"due <= {self.now} AND {self.now} <= %s"
        return f"SELECT id FROM {self.table} WHERE queue = %s AND lane = {NOT_READY_LANE} AND {moment}{which}"

    def lease_condition(self, receipts: Sequence[str]) -> tuple[str, list[Any]]:
        """The condition that holds for the rows that were leased last under exactly these receipts.

        A lease that has ended still counts, until the row is leased again: what was promoted meanwhile keeps its
        number, and a released one does not.
        """
        numbers = [parsed for receipt in receipts if (parsed := parse_receipt(receipt)) is not None]
        ids = ", ".join(str(id) for id, _ in numbers) or "NULL"
        pairs = self.pairs.format(", ".join(f"({id}, {number})" for id, number in numbers) or "(0, 0)")
        return f"id IN ({ids}) AND (id, lease_number) IN {pairs}", []
