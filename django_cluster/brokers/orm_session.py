"""How a piece of work is run on a Django connection: fresh enough, tried again where that is safe, and with
the broker's own errors.

Inside the caller's transaction nothing is tried again: after an error the transaction is his to end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import (
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cluster.database.connection import (
    RETRY_SECONDS,
    close_if_stale,
    has_lost,
    is_conflict,
    is_missing_table,
    pause_before_retry,
)
from django_cluster.database.statement_watchdog import WRITE_TIMEOUT
from django_cluster.database.watchdog import bounded, connect
from django_cluster.errors import BrokerError, BrokerRefused, BrokerUnavailable

T = TypeVar("T")

MAX_RECONNECTS = 3
"""How often a broken connection is replaced for work that knows whether it has been done."""


class QueueSession:
    """The connection of one alias, in this thread."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def run(
        self,
        work: Callable[[CursorWrapper], T],
        *,
        atomic: bool = False,
        again: Callable[[CursorWrapper], T] | None = None,
        seconds: float = WRITE_TIMEOUT,
    ) -> T:
        """What ``work`` returns for a cursor. ``atomic`` says that it is several statements.

        ``again`` is called instead when the work may have been done already: the connection has broken, and the
        answer may be lost. Without it, the work has to be harmless when it is done twice. ``seconds`` is how long a
        statement may take outside a cluster's own processes; after such a silence the work is tried once more only.
        """
        began = time.monotonic()
        deadline = began + RETRY_SECONDS
        renewals = MAX_RECONNECTS if again else 1
        while True:
            connection = connections[self.alias]
            nested, used = connection.in_atomic_block, None
            try:
                with bounded(connection, seconds):
                    close_if_stale(connection)
                    used = connection.connection
                    connect(connection)
                    used = used or connection.connection
                    return self._once(connection, work, atomic and not nested)
            except Error as error:
                if nested:
                    raise self._told(error) from error
                if is_conflict(error) and time.monotonic() < deadline:
                    pause_before_retry()
                elif has_lost(connection, used, error) and renewals:
                    # The server may have closed it long ago; an answer can be lost, too.
                    renewals = 0 if time.monotonic() - began >= WRITE_TIMEOUT else renewals - 1
                    work = again or work
                    connection.close()
                else:
                    raise self._told(error) from error

    def close(self) -> None:
        connection = connections[self.alias]
        if not connection.in_atomic_block:
            connection.close()

    def _once(self, connection: BaseDatabaseWrapper, work: Callable[[CursorWrapper], T], atomic: bool) -> T:
        if not atomic:
            with connection.cursor() as cursor:
                return work(cursor)
        with transaction.atomic(using=self.alias), connection.cursor() as cursor:
            return work(cursor)

    def _told(self, error: Error) -> BrokerError:
        kind: type[BrokerError] = BrokerRefused
        what = "refused"
        if is_missing_table(error):
            what = "lacks the queue table (run manage.py migrate)"
        elif isinstance(error, OperationalError | InterfaceError | InternalError):
            kind, what = BrokerUnavailable, "cannot be used now"
        return kind(f"The database {self.alias!r} {what}: {str(error).strip()}")
