"""How a piece of work is run on a Django connection: fresh enough, tried again where that is safe, and with
the broker's own errors.

Inside the caller's transaction nothing is tried again: after an error the transaction is his to end.
"""

from __future__ import annotations

import math
import random
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

from django_cluster.errors import BrokerError, BrokerRefused, BrokerUnavailable

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds for which work is tried again while others hold the locks that it needs."""

PAUSE = 0.01, 0.05
"""Between two tries, at random, so that those who collided do not collide again."""

COLLISIONS = frozenset({"40001", "40P01", "55P03", 1020, 1205, 1213})
"""What PostgreSQL (text) and MariaDB (numbers) call a deadlock, a lost race, or a lock that was not to be had."""


class Session:
    """The connection of one alias, in this thread."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def run(self, work: Callable[[CursorWrapper], T], *, atomic: bool = False) -> T:
        """What ``work`` returns for a cursor. ``atomic`` says that it is several statements."""
        deadline = time.monotonic() + PATIENCE
        renewed = False
        while True:
            connection = self._connection()
            nested, was_open = connection.in_atomic_block, connection.connection is not None
            try:
                return self._once(connection, work, atomic and not nested)
            except Error as error:
                if nested:
                    raise self._told(error) from error
                if _is_collision(error) and time.monotonic() < deadline:
                    time.sleep(random.uniform(*PAUSE))  # noqa: S311  not a secret
                elif was_open and not renewed and _is_dead(connection):
                    # The server may have closed it long ago; a reply can be lost too, and then the work is
                    # done twice: a message sent twice is what "at least once" allows, one never sent is not.
                    renewed = True
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

    def _connection(self) -> BaseDatabaseWrapper:
        """The connection, closed first if it is broken or too old.

        Django's own ``close_if_unusable_or_obsolete`` would close it at each call where ``CONN_MAX_AGE`` is 0,
        which means "after each request"; here there are no requests, and connecting is the dearest step.
        """
        connection = connections[self.alias]
        if connection.connection is None or connection.in_atomic_block:
            return connection
        if connection.errors_occurred:
            if connection.is_usable():
                connection.errors_occurred = False
            else:
                connection.close()
        elif connection.settings_dict["CONN_MAX_AGE"] and time.monotonic() >= (connection.close_at or math.inf):
            connection.close()
        return connection

    def _told(self, error: Error) -> BrokerError:
        words = f"The database {self.alias!r} {{}}: {str(error).strip()}"
        if _is_missing_table(error):
            return BrokerRefused(words.format("lacks the queue table (run manage.py migrate)"))
        if isinstance(error, OperationalError | InterfaceError | InternalError):
            return BrokerUnavailable(words.format("cannot be used now"))
        return BrokerRefused(words.format("refused"))


def _code(error: Error) -> object:
    """The code that the database's library gives the error."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or next(iter(error.args), None)


def _is_collision(error: Error) -> bool:
    code = _code(error)
    if isinstance(code, str) and code.startswith("database ") and code.endswith(" is locked"):
        return True  # SQLite has words only: "database is locked", "database table is locked"
    return code in COLLISIONS


def _is_missing_table(error: Error) -> bool:
    code = _code(error)
    return code in ("42P01", 1146) or (isinstance(code, str) and code.startswith("no such table"))


def _is_dead(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is None or not connection.is_usable()
