"""Writes deduplicated outcomes as rows: all in one statement, or one by one when a value among them is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from django.db import Error, transaction

from django_cluster.core.batching import batches
from django_cluster.core.events.tasks import RECORD_LOST, RECORD_TRUNCATED
from django_cluster.database.dialect import is_mysql
from django_cluster.database.refused_values import is_data_error, packet_limit, weight
from django_cluster.database.session import Session
from django_cluster.stores.rows import (
    CORRELATED,
    EVERYTHING,
    FIRST_SUCCESS,
    Deduplicated,
    Moment,
    Values,
    all_values,
    correlated_values,
    first_success_values,
    truncated,
)
from django_cluster.stores.task_upsert import ROWS_PER_STATEMENT, TASK_ROWS, moment_writer

DATA_ERRORS = (Error, ValueError, TypeError, OverflowError, OSError)
"""What databases and their drivers raise for a value; the last three also come from impossible moments."""

Shape = tuple[tuple[str, ...], Callable[[Deduplicated, Moment], Values]]
SHORT: Shape = (FIRST_SUCCESS, first_success_values)
SHORT_CORRELATED: Shape = (CORRELATED, correlated_values)
FULL: Shape = (EVERYTHING, all_values)


class RowWriter:
    """Writes the rows of ``Task`` in one database."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._limit: int | None = None

    def write(self, deduplicated: Sequence[Deduplicated], shape: Shape) -> None:
        """Must be called in a transaction: a refused statement is taken back to its savepoint."""
        for batch in batches(deduplicated, most=ROWS_PER_STATEMENT):
            reason = self._error_of(batch, shape)
            if reason is not None:
                for each in batch:
                    self._write_one(each)

    def _write_one(self, each: Deduplicated) -> None:
        reason = self._error_of([each], FULL)
        if reason is None:
            return
        RECORD_TRUNCATED.log(task_id=each.outcome.id, error=reason)
        reason = self._error_of([Deduplicated(truncated(each.outcome, reason))], FULL)
        if reason is not None:  # its message is acknowledged: a value must not stop other records
            RECORD_LOST.log(task_id=each.outcome.id, error=reason)

    def _error_of(self, batch: Sequence[Deduplicated], shape: Shape) -> Exception | None:
        """Why the database will not take these rows; None when it has taken them."""
        try:
            with transaction.atomic(using=self._session.alias):
                self._insert(batch, shape)
        except DATA_ERRORS as error:
            if not is_data_error(error):
                raise
            return error
        return None

    def _insert(self, batch: Sequence[Deduplicated], shape: Shape) -> None:
        connection = self._session.connection
        columns, values_of = shape
        moment = moment_writer(connection)
        rows = [values_of(each, moment) for each in batch]
        if not is_mysql(connection):
            TASK_ROWS.write(connection, columns, rows)
            return
        for packet in self._packets(rows):
            TASK_ROWS.write(connection, columns, packet)

    def _packets(self, rows: Sequence[Values]) -> Iterator[list[Values]]:
        """The rows in as few statements as the server's limit allows. Raises ``ValueError`` for one that is over it."""
        if self._limit is None:
            self._limit = packet_limit(self._session.connection)
        limit = self._limit

        def size(row: Values) -> int:
            found = weight(row)
            if found > limit:
                raise ValueError(f"{found} bytes are more than the server takes (max_allowed_packet = {limit}).")
            return found

        return batches(rows, size, most=ROWS_PER_STATEMENT, room=limit)
