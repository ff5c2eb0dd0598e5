"""The SQL of the queue table for each family of databases.

All moments come from the database's clock, in microseconds, and are constant during a statement. The claim of each
family reads rows through the index in the order of leasing, skips rows that others lock, and costs the same for a
million rows as for a thousand.
"""

# ruff: noqa: S608  what is put into the SQL here is ours: the name of our table, constants, and integers

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cluster.brokers.messages import MAX_ATTEMPTS, Message
from django_cluster.brokers.orm_dialect_base import Dialect
from django_cluster.brokers.orm_rows import (
    COLUMNS,
    INDEX,
    MAX_PROMOTIONS,
    MICROSECONDS,
    NEXT_LEASE,
    NOT_READY_LANE,
    ORDER,
    ClaimedRow,
    channel_of,
    decode_column,
    delayed_until,
    parse_receipt,
)
from django_cluster.core.postgres_arrays import number_array, text_array
from django_cluster.core.row_insert import RowInsert
from django_cluster.database.clock import FOREVER
from django_cluster.database.dialect import NOW, by_vendor


class SQLite(Dialect):
    now = NOW["sqlite"]
    payload = "CAST(payload AS BLOB)"
    pairs = "(VALUES {})"
    answers_can_be_lost = False

    def claim(
        self, cursor: CursorWrapper, queue: str, limit: int, lease: float, latest: int = FOREVER
    ) -> list[ClaimedRow]:
        # RETURNING knows neither an order nor the row as it was: the place in the order travels in "due",
        # as microseconds on top of the end of the lease, which does no harm there.
        cursor.execute(
            f"UPDATE {self.table} SET lane = {NOT_READY_LANE}, due = {self.now} + %s + picked.place, leased = TRUE,"
            f" lease_number = CASE WHEN typeof(lease_number) = 'integer' THEN {NEXT_LEASE} ELSE 1 END,"
            f" attempts = CAST(MAX(0, MIN(attempts, {MAX_ATTEMPTS})) AS INTEGER) + 1"
            f" FROM (SELECT id, row_number() OVER (ORDER BY {ORDER}) AS place FROM (SELECT {ORDER} FROM {self.table}"
            f" WHERE queue = %s AND lane < {NOT_READY_LANE} AND {self.now} <= %s ORDER BY {ORDER} LIMIT %s)) AS picked"
            f" WHERE {self.table}.id = picked.id"
            " RETURNING due, id, lease_number, attempts, CAST(payload AS BLOB)",
            [int(lease * MICROSECONDS), queue, latest, limit],
        )
        rows = sorted(cursor.fetchall())
        return [ClaimedRow(id, number, attempts, decode_column(payload)) for _, id, number, attempts, payload in rows]


NEXT_ATTEMPT = f"GREATEST(0, LEAST(attempts, {MAX_ATTEMPTS})) + 1"
"""One attempt more; a row whose number could not be raised any more would stop the claims of all others."""


class PostgreSQL(Dialect):
    now = NOW["postgresql"]

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
        if len(messages) == 1 or not keys or known:
            return super().insert(cursor, queue, messages, keys, known=known, beside=beside)
        statement = (
            f"INSERT INTO {self.table} (id, {COLUMNS})"
            f" SELECT id, %s::varchar, CASE WHEN due IS NULL THEN -priority ELSE {NOT_READY_LANE} END,"
            f" COALESCE(due, {self.now}), priority, 0, FALSE, attempts, payload"
            " FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::integer[], %s::text[])"
            f" AS given(id, priority, due, attempts, payload) ORDER BY id"
        )
        columns = (
            number_array(keys),
            number_array([message.priority for message in messages]),
            text_array([None if (due := delayed_until(message)) is None else str(due) for message in messages]),
            number_array([message.attempts for message in messages]),
            text_array([message.payload for message in messages]),
        )
        cursor.execute(*self.complete(statement, [queue, *columns], queue, beside))

    def with_notify(self, statement: str, queue: str) -> str:
        # Heard at the commit, and once for any number of statements of one transaction.
        return f"WITH done AS ({statement}) SELECT pg_notify('{channel_of(queue)}', '')"

    def complete(
        self, statement: str, params: Sequence[Any], queue: str, beside: RowInsert | None
    ) -> tuple[str, Sequence[Any]]:
        query = self.with_notify(statement, queue)
        if beside is None:
            return query, params
        return query.replace("WITH ", f"WITH rows_beside AS ({beside.statement}), ", 1), [*beside.params, *params]

    def acknowledge(self, cursor: CursorWrapper, receipts: Sequence[str]) -> None:
        held, params = self.lease_condition(receipts)
        cursor.execute(
            f"WITH gone AS (DELETE FROM {self.table} WHERE {held} RETURNING id)"
            f" INSERT INTO {self.acknowledged_table} (acknowledged_at, message_keys)"
            f" SELECT {self.now}, ',' || string_agg(id::text, ',') || ',' FROM gone HAVING COUNT(*) > 0",
            params,
        )

    def claim(
        self, cursor: CursorWrapper, queue: str, limit: int, lease: float, latest: int = FOREVER
    ) -> list[ClaimedRow]:
        # The statistics of a queue are always old, and may say that it is empty. A limit that the planner cannot
        # see keeps it from sorting a million rows that it takes for three; an array of ids, from joining them.
        cursor.execute(
            f"WITH picked AS (SELECT {ORDER} FROM {self.table} WHERE queue = %s AND lane < {NOT_READY_LANE}"
            f" AND {self.now} <= %s ORDER BY {ORDER} LIMIT (SELECT %s) FOR UPDATE SKIP LOCKED),"
            f" taken AS (UPDATE {self.table} SET lane = {NOT_READY_LANE}, due = {self.now} + %s, leased = TRUE,"
            f" lease_number = {NEXT_LEASE}, attempts = {NEXT_ATTEMPT} WHERE id = ANY(ARRAY(SELECT id FROM picked))"
            " RETURNING id, lease_number, attempts, payload)"
            f" SELECT id, lease_number, attempts, payload FROM taken JOIN picked USING (id) ORDER BY {ORDER}",
            [queue, latest, limit, int(lease * MICROSECONDS)],
        )
        return [ClaimedRow(*row) for row in cursor.fetchall()]

    def overdue(self, lapsed: bool) -> str:
        return f"{self._overdue(lapsed)} ORDER BY {ORDER} LIMIT (SELECT {MAX_PROMOTIONS}) FOR UPDATE SKIP LOCKED"

    def promote(self, cursor: CursorWrapper, queue: str, latest: int = FOREVER, *, lapsed: bool = True) -> int:
        overdue = f"WITH overdue AS ({self.overdue(lapsed)})"
        cursor.execute(f"{overdue} {self.promotion} WHERE id = ANY(ARRAY(SELECT id FROM overdue))", [queue, latest])
        return int(cursor.rowcount)

    def lease_condition(self, receipts: Sequence[str]) -> tuple[str, list[Any]]:
        numbers = [parsed for receipt in receipts if (parsed := parse_receipt(receipt)) is not None]
        ids = number_array([id for id, _ in numbers])
        pairs = "SELECT * FROM unnest(%s::bigint[], %s::bigint[])"
        condition = f"id = ANY(%s::bigint[]) AND (id, lease_number) IN ({pairs})"
        return condition, [ids, ids, number_array([number for _, number in numbers])]


class MySQL(Dialect):
    """MySQL and MariaDB. Two statements, so their caller opens a transaction."""

    now = NOW["mysql"]
    known = " ON DUPLICATE KEY UPDATE id = id"

    @cached_property
    def lock(self) -> str:
        """Old servers cannot skip; their clusters wait for each other."""
        return "FOR UPDATE SKIP LOCKED" if self.connection.features.has_select_for_update_skip_locked else "FOR UPDATE"

    def claim(
        self, cursor: CursorWrapper, queue: str, limit: int, lease: float, latest: int = FOREVER
    ) -> list[ClaimedRow]:
        cursor.execute(
            f"SELECT id, {NEXT_LEASE}, {NEXT_ATTEMPT}, payload FROM {self.table} FORCE INDEX ({INDEX})"
            f" WHERE queue = %s AND lane < {NOT_READY_LANE} AND {self.now} <= %s ORDER BY {ORDER} LIMIT %s {self.lock}",
            [queue, latest, limit],
        )
        claimed = [ClaimedRow(*row) for row in cursor.fetchall()]
        if claimed:
            cursor.execute(
                f"UPDATE {self.table} SET lane = {NOT_READY_LANE}, due = {self.now} + %s, leased = TRUE,"
                f" lease_number = {NEXT_LEASE}, attempts = {NEXT_ATTEMPT} WHERE id IN ({_ids(claimed)})",
                [int(lease * MICROSECONDS)],
            )
        return claimed

    def acknowledge(self, cursor: CursorWrapper, receipts: Sequence[str]) -> None:
        super().acknowledge(cursor, receipts)
        if cursor.rowcount:
            keys = ",".join(str(parsed[0]) for receipt in receipts if (parsed := parse_receipt(receipt)))
            note = f"INSERT INTO {self.acknowledged_table} (acknowledged_at, message_keys) VALUES ({self.now}, %s)"
            cursor.execute(note, [f",{keys},"])

    def promote(self, cursor: CursorWrapper, queue: str, latest: int = FOREVER, *, lapsed: bool = True) -> int:
        cursor.execute(f"{self.overdue(lapsed)} {self.lock}", [queue, latest])
        rows = cursor.fetchall()
        if rows:
            cursor.execute(f"{self.promotion} WHERE id IN ({_ids(rows)})")
        return len(rows)


DIALECTS: dict[str, type[Dialect]] = {"sqlite": SQLite, "postgresql": PostgreSQL, "mysql": MySQL}


def dialect_of(connection: BaseDatabaseWrapper) -> Dialect:
    """The SQL that this database understands."""
    dialect = by_vendor(connection, DIALECTS)
    if dialect is None:
        raise ImproperlyConfigured(
            f"The ORM broker speaks SQLite, PostgreSQL, MySQL and MariaDB; {connection.alias!r} is {connection.vendor}."
        )
    return dialect(connection)


def _ids(rows: Sequence[tuple[Any, ...]]) -> str:
    return ", ".join(str(row[0]) for row in rows)
