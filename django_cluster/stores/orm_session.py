"""How rows are written on a Django connection: in one transaction, patiently, and with the store's own error.

Only the outermost transaction is ever tried again. Inside a caller's transaction an error is his to end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import Error, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cluster.core.backoff import first_line
from django_cluster.core.liveness import report_progress
from django_cluster.database.connection import (
    RETRY_SECONDS,
    close_if_stale,
    has_lost,
    is_conflict,
    is_missing_table,
    is_wrong_server,
    pause_before_retry,
)
from django_cluster.database.statement_watchdog import READ_TIMEOUT
from django_cluster.database.watchdog import bounded, connect
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Task

T = TypeVar("T")


class Session:
    """The connection of one alias, in this thread."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.alias]

    @contextmanager
    def transaction(self, retry_seconds: float = RETRY_SECONDS) -> Iterator[None]:
        """All or nothing; a savepoint where a transaction is open. Raises ``StoreUnavailable``."""
        connection = self.connection
        outermost = not connection.in_atomic_block
        with self.translated_errors(), bounded(connection):
            if outermost:
                close_if_stale(connection)
                connect(connection)
            try:
                with transaction.atomic(using=self.alias):
                    if outermost and connection.vendor == "sqlite" and not _begins_with_lock(connection):
                        _take_write_lock(connection, retry_seconds)
                    yield
            except Exception as error:
                if outermost and is_wrong_server(error):
                    connection.close()
                raise

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """The errors of the database as ``StoreUnavailable``."""
        try:
            yield
        except Error as error:
            advice = "; run manage.py migrate" if is_missing_table(error) else ""
            sentence = f"The results in database {self.alias!r} cannot be used{advice}: {first_line(error)}"
            raise StoreUnavailable(sentence) from error

    def run(self, work: Callable[[], T], retry_seconds: float = RETRY_SECONDS) -> T:
        """Do the work in a transaction; when it collides with others, or the connection had died, again."""
        deadline = time.monotonic() + retry_seconds
        renewed = False
        while True:
            nested, used = self.connection.in_atomic_block, self.connection.connection
            report_progress()
            try:
                with self.transaction(retry_seconds):
                    return work()
            except StoreUnavailable as error:
                if nested:
                    raise
                if is_conflict(error.__cause__) and time.monotonic() < deadline:
                    pause_before_retry()
                elif not renewed and has_lost(self.connection, used, error):
                    # The server may have closed it long ago. To save again is harmless.
                    renewed = True
                else:
                    raise

    def read(self, work: Callable[[], T], seconds: float = READ_TIMEOUT) -> T:
        """What ``work`` reads; when the connection had died, from a new one.

        ``seconds`` is how long a statement may take outside a cluster's own processes.
        """
        report_progress()
        close_if_stale(self.connection)
        used, nested = self.connection.connection, self.connection.in_atomic_block
        with self.translated_errors(), bounded(self.connection, seconds):
            try:
                connect(self.connection)
                return work()
            except Error as error:
                if nested or not has_lost(self.connection, used, error):
                    raise
            connect(self.connection)
            return work()


def _begins_with_lock(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction on this SQLite connection takes the write lock by itself (see ``core.sqlite_options``)."""
    return getattr(connection, "transaction_mode", None) in ("IMMEDIATE", "EXCLUSIVE")


def _take_write_lock(connection: BaseDatabaseWrapper, retry_seconds: float) -> None:
    """Begin to write before anything is read.

    A SQLite transaction that reads first and writes later fails at once, and for good, when another wrote in
    between; one that has only tried to write may wait and try again.
    """
    deadline = time.monotonic() + retry_seconds
    table = connection.ops.quote_name(Task._meta.db_table)
    while True:
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"UPDATE {table} SET success = success WHERE id = ''")  # noqa: S608  our own table
            return
        except OperationalError as error:
            if not is_conflict(error) or time.monotonic() > deadline:
                raise
        pause_before_retry()
