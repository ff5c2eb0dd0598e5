"""How rows are written on a Django connection: in one transaction, patiently, and with the store's own error.

Only the outermost transaction is ever tried again. Inside a caller's transaction an error is his to end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import DatabaseError, Error, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cluster.errors import StoreUnavailable
from django_cluster.models import Task

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds for which a write is tried again while others hold the locks that it needs."""
PAUSE = 0.01, 0.05
"""Between two tries, at random, so that those who collided do not collide again."""

COLLISIONS = frozenset({"40001", "40P01", "55P03", 1020, 1205, 1213})
"""A deadlock, a lost race, a lock that was not to be had: in PostgreSQL (text) and MariaDB (numbers)."""


class Session:
    """The connection of one alias, in this thread."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.alias]

    @contextmanager
    def transaction(self, patience: float = PATIENCE) -> Iterator[None]:
        """All or nothing; a savepoint where a transaction is open. Raises ``StoreUnavailable``."""
        connection = self.connection
        outermost = not connection.in_atomic_block
        with self.telling():
            if outermost:
                close_if_stale(connection)
            with transaction.atomic(using=self.alias):
                if outermost and connection.vendor == "sqlite":
                    _take_write_lock(connection, patience)
                yield

    @contextmanager
    def telling(self) -> Iterator[None]:
        """The errors of the database as ``StoreUnavailable``."""
        try:
            yield
        except Error as error:
            raise StoreUnavailable(f"The results in database {self.alias!r} cannot be used: {error}") from error

    def run(self, work: Callable[[], T], patience: float = PATIENCE) -> T:
        """Do the work in a transaction; when it collides with others, or the connection had died, again."""
        deadline = time.monotonic() + patience
        renewed = False
        while True:
            nested, used = self.connection.in_atomic_block, self.connection.connection
            try:
                with self.transaction(patience):
                    return work()
            except StoreUnavailable as error:
                if nested:
                    raise
                if _is_collision(error.__cause__) and time.monotonic() < deadline:
                    time.sleep(random.uniform(*PAUSE))  # noqa: S311  not a secret
                elif used is not None and not renewed and self._has_lost(used):
                    # The server may have closed it long ago. To save again is harmless.
                    renewed = True
                else:
                    raise

    def read(self, work: Callable[[], T]) -> T:
        """What ``work`` reads; when the connection had died, from a new one."""
        close_if_stale(self.connection)
        used, nested = self.connection.connection, self.connection.in_atomic_block
        with self.telling():
            try:
                return work()
            except Error:
                if nested or used is None or not self._has_lost(used):
                    raise
            return work()

    def _has_lost(self, used: object) -> bool:
        """Whether this connection to the server is gone; Django may have opened another one already."""
        return self.connection.connection is not used or _is_dead(self.connection)


def close_if_stale(connection: BaseDatabaseWrapper) -> None:
    """Close a connection that is broken or too old; the next statement opens another.

    Django's own ``close_if_unusable_or_obsolete`` would close it each time where ``CONN_MAX_AGE`` is 0,
    which means "after each request"; here there are no requests, and connecting is the dearest step.
    """
    if connection.connection is None or connection.in_atomic_block:
        return
    too_old = connection.close_at is not None and connection.close_at <= time.monotonic()
    if (too_old and connection.settings_dict["CONN_MAX_AGE"]) or (connection.errors_occurred and _is_dead(connection)):
        connection.close()


def _take_write_lock(connection: BaseDatabaseWrapper, patience: float) -> None:
    """Begin to write before anything is read.

    A SQLite transaction that reads first and writes later fails at once, and for good, when another wrote in
    between; one that has only tried to write may wait and try again.
    """
    deadline = time.monotonic() + patience
    table = connection.ops.quote_name(Task._meta.db_table)
    while True:
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"UPDATE {table} SET success = success WHERE id = ''")  # noqa: S608  our own table
            return
        except OperationalError as error:
            if not _is_collision(error) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(*PAUSE))  # noqa: S311  not a secret


def _is_collision(error: BaseException | None) -> bool:
    if not isinstance(error, DatabaseError):
        return False
    code = getattr(error.__cause__, "sqlstate", None) or next(iter(error.args), None)
    if isinstance(code, str) and code.startswith("database ") and code.endswith(" is locked"):
        return True  # SQLite has words only: "database is locked", "database table is locked"
    return code in COLLISIONS


def _is_dead(connection: BaseDatabaseWrapper) -> bool:
    """Whether the connection has to be opened anew; one that is dead is closed."""
    if connection.connection is None:
        return True
    if connection.is_usable():
        connection.errors_occurred = False
        return False
    connection.close()
    return True
