"""Runs a piece of work on a Django connection: with a time limit, and again where that is safe.

Inside the caller's transaction nothing is tried again: after an error that transaction is the caller's to end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import Error, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cluster.core.liveness import report_progress
from django_cluster.database.connection import (
    RETRY_SECONDS,
    close_if_stale,
    has_lost,
    is_conflict,
    is_wrong_server,
    pause_before_retry,
)
from django_cluster.database.dialect import is_sqlite
from django_cluster.database.statement_watchdog import READ_TIMEOUT, WRITE_TIMEOUT
from django_cluster.database.watchdog import bounded, connect
from django_cluster.errors import ClusterError
from django_cluster.models import Task

T = TypeVar("T")

Translate = Callable[[str, Error], ClusterError]
"""(database alias, error of the database) → the error that callers are told."""

MAX_RENEWALS = 3
"""How often a broken connection is replaced for work that can tell whether it has been done."""


class Session:
    """The connection of one database alias in this thread; its errors reach callers as those of ``translate``."""

    def __init__(self, alias: str, translate: Translate) -> None:
        self.alias = alias
        self._translate = translate

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.alias]

    @contextmanager
    def transaction(self, retry_seconds: float = RETRY_SECONDS) -> Iterator[None]:
        """All statements inside, or none; a savepoint where a transaction is open."""
        connection = self.connection
        try:
            with bounded(connection):
                if not connection.in_atomic_block:
                    close_if_stale(connection)
                    connect(connection)
                with self._atomic(retry_seconds):
                    yield
        except Error as error:
            raise self._translate(self.alias, error) from error

    def run(self, work: Callable[[], T], retry_seconds: float = RETRY_SECONDS) -> T:
        """Do ``work`` in a transaction; once more if the connection was broken, and for ``retry_seconds`` while it
        conflicts with other transactions. It has to be harmless when it is done twice."""

        def once() -> T:
            with self._atomic(retry_seconds):
                return work()

        return self._attempt(once, retry_seconds=retry_seconds)

    def read(self, work: Callable[[], T], seconds: float = READ_TIMEOUT) -> T:
        """Do ``work``, which only reads, without a transaction; once more if the connection was broken.

        ``seconds``: how long a statement may take outside a cluster's own processes.
        """
        return self._attempt(work, retry_seconds=0.0, seconds=seconds)

    def execute(
        self,
        work: Callable[[CursorWrapper], T],
        *,
        atomic: bool = False,
        again: Callable[[CursorWrapper], T] | None = None,
        seconds: float = WRITE_TIMEOUT,
    ) -> T:
        """Call ``work`` with a cursor; ``atomic``: in a transaction, because it is several statements.

        ``again`` is called instead when the work may have been done already: the connection has broken, and the
        answer may be lost. Without it, the work has to be harmless when it is done twice. ``seconds``: how long a
        statement may take outside a cluster's own processes; after such a silence the work is tried once more only.
        """
        return self._attempt(
            lambda: self._with_cursor(work, atomic=atomic),
            again=None if again is None else lambda: self._with_cursor(again, atomic=atomic),
            seconds=seconds,
        )

    def close(self) -> None:
        """Close the connection, unless a transaction is open."""
        if not self.connection.in_atomic_block:
            self.connection.close()

    def _attempt(
        self,
        step: Callable[[], T],
        *,
        again: Callable[[], T] | None = None,
        retry_seconds: float | None = None,
        seconds: float = WRITE_TIMEOUT,
    ) -> T:
        began = time.monotonic()
        until = began + (RETRY_SECONDS if retry_seconds is None else retry_seconds)
        renewals = 1 if again is None else MAX_RENEWALS
        while True:
            connection = self.connection
            nested, used = connection.in_atomic_block, None
            report_progress()
            try:
                with bounded(connection, seconds):
                    close_if_stale(connection)
                    used = connection.connection
                    connect(connection)
                    used = used or connection.connection
                    return step()
            except Error as error:
                if nested:
                    raise self._translate(self.alias, error) from error
                if is_conflict(error) and time.monotonic() < until:
                    pause_before_retry()
                elif renewals and has_lost(connection, used, error):
                    # The server may have closed it long ago; an answer can be lost, too.
                    renewals = 0 if time.monotonic() - began >= WRITE_TIMEOUT else renewals - 1
                    step = again or step
                    connection.close()
                else:
                    raise self._translate(self.alias, error) from error

    def _with_cursor(self, work: Callable[[CursorWrapper], T], *, atomic: bool) -> T:
        if not atomic or self.connection.in_atomic_block:
            with self.connection.cursor() as cursor:
                return work(cursor)
        with transaction.atomic(using=self.alias), self.connection.cursor() as cursor:
            return work(cursor)

    @contextmanager
    def _atomic(self, retry_seconds: float) -> Iterator[None]:
        connection = self.connection
        outermost = not connection.in_atomic_block
        try:
            with transaction.atomic(using=self.alias):
                if outermost and is_sqlite(connection) and not _begins_with_lock(connection):
                    _take_write_lock(connection, retry_seconds)
                yield
        except Exception as error:
            if outermost and is_wrong_server(error):
                connection.close()
            raise


def _begins_with_lock(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction on this SQLite connection takes the write lock by itself (see ``core.sqlite_options``)."""
    return getattr(connection, "transaction_mode", None) in ("IMMEDIATE", "EXCLUSIVE")


def _take_write_lock(connection: BaseDatabaseWrapper, retry_seconds: float) -> None:
    """Begin to write before anything is read.

    A SQLite transaction that reads first and writes later fails immediately, and finally, when another wrote in
    between; one that has only tried to write can wait and try again.
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
