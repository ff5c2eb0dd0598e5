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

from django_cluster.answer_limit import SEND_SECONDS
from django_cluster.database import PATIENCE, close_if_stale, has_lost, is_collision, is_missing_table, rest
from django_cluster.errors import BrokerError, BrokerRefused, BrokerUnavailable
from django_cluster.silence import bounded, connect

T = TypeVar("T")

MOST_RENEWALS = 3
"""How often a broken connection is replaced for work that knows whether it has been done."""


class Session:
    """The connection of one alias, in this thread."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def run(
        self,
        work: Callable[[CursorWrapper], T],
        *,
        atomic: bool = False,
        again: Callable[[CursorWrapper], T] | None = None,
        seconds: float = SEND_SECONDS,
    ) -> T:
        """What ``work`` returns for a cursor. ``atomic`` says that it is several statements.

        ``again`` is called instead when the work may have been done already: the connection has broken, and the
        answer may be lost. Without it, the work has to be harmless when it is done twice. ``seconds`` is how long a
        statement may take outside a cluster's own processes; after such a silence the work is tried once more only.
        """
        began = time.monotonic()
        deadline = began + PATIENCE
        renewals = MOST_RENEWALS if again else 1
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
                if is_collision(error) and time.monotonic() < deadline:
                    rest()
                elif has_lost(connection, used, error) and renewals:
                    # The server may have closed it long ago; an answer can be lost, too.
                    renewals = 0 if time.monotonic() - began >= SEND_SECONDS else renewals - 1
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
