"""Time limits for waiting on a database, in a cluster's own processes (not in its workers).

A network can drop a connection without telling either end, and a server can hang; a process that waits for an answer
then waits forever. TCP keep-alives notice the first and not the second, and not all drivers have a time-out. So a
thread watches how long the process has waited, and shuts the socket down; the waiting code then sees a broken
connection, which it knows how to replace.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_cluster.core.events.servers import DATABASE_SILENT
from django_cluster.database.dialect import is_mysql, is_sqlite
from django_cluster.database.statement_watchdog import WRITE_TIMEOUT, descriptor_of, shut_down, statement_timeout

MIN_WAIT_SECONDS = 15.0
"""Seconds for which an answer is waited for at least, however short the lease is."""
LEASES_PER_WAIT = 1.5
"""Leases for which it is waited for otherwise: less than the time after which a silent process is replaced."""
CONNECT_SECONDS = 10
"""Seconds that a new connection may take."""
LOCK_WAIT_SHARE = 0.8
"""The part of the wait for an answer for which MariaDB and MySQL wait for a row lock (their own default: 50 seconds).

A server does not notice that we have hung up while a statement waits: it would wait on, and keep others waiting."""
KEEPALIVE_COUNT = 3
"""Keep-alive packets without an answer after which a connection is dead."""


POSTGRES_DRIVERS = frozenset({"psycopg", "psycopg2"})
MARIADB_DRIVERS = frozenset({"MySQLdb", "pymysql"})
DRIVERS = POSTGRES_DRIVERS | MARIADB_DRIVERS


class Wait(NamedTuple):
    """What is waited for now."""

    connection: BaseDatabaseWrapper | None = None
    until: float = 0.0
    """Monotonic."""
    raw: Any = None
    """The connection of the driver."""
    descriptor: int = -1
    """Its socket, looked up in its own thread: not all drivers answer another one."""


def max_wait(lease: float) -> float:
    """Seconds for which a cluster with leases of this length waits for an answer."""
    return max(MIN_WAIT_SECONDS, LEASES_PER_WAIT * lease)


class ConnectionWatchdog:
    """Watches the waits of the thread that has made it, for ``seconds`` each."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._owner = threading.get_ident()
        self._lock = threading.Lock()
        self._wait = Wait()
        threading.Thread(target=self._watch, name="database-watchdog", daemon=True).start()

    @property
    def is_mine(self) -> bool:
        """Whether this thread is the one whose waits are watched."""
        return threading.get_ident() == self._owner

    @contextmanager
    def within(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """What is waited for in the block ends in time; each statement begins the time anew."""
        if self._step not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._step)
        outer = self._wait.connection
        self._begin(connection)
        try:
            yield
        finally:
            self._begin(outer)

    def _begin(self, connection: BaseDatabaseWrapper | None) -> None:
        raw = None if connection is None else connection.connection
        with self._lock:
            self._wait = Wait(connection, time.monotonic() + self.seconds, raw, descriptor_of(raw))

    def _step(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if self._wait.connection is context["connection"] and threading.get_ident() == self._owner:
            self._begin(context["connection"])
        return execute(sql, params, many, context)

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self.seconds / 4))
            if self._wait.connection is not None and time.monotonic() >= self._wait.until:
                self._end_wait()

    def _end_wait(self) -> None:
        with self._lock:  # so that nothing else is waited for while the socket is shut down
            connection, until, raw, descriptor = self._wait
            if connection is None or connection.connection is not raw or descriptor < 0 or time.monotonic() < until:
                return
            self._wait = self._wait._replace(until=time.monotonic() + self.seconds)
            shut_down(descriptor)
        DATABASE_SILENT.log(database=connection.alias, seconds=self.seconds)


_watchdog: ConnectionWatchdog | None = None


def start_watchdog(seconds: float) -> None:
    """From now on, no wait of this thread in a ``bounded`` block is longer; call it before a connection is opened."""
    global _watchdog
    for connection in connections.all():
        add_driver_timeouts(connection, seconds)
    _watchdog = ConnectionWatchdog(seconds)
    connection_created.connect(_limit_lock_waits, dispatch_uid=f"{__name__}.lock_waits")


def _limit_lock_waits(connection: BaseDatabaseWrapper, **_: object) -> None:
    if _watchdog is not None and _watchdog.is_mine and is_mysql(connection):
        limit_lock_waits(connection, _watchdog.seconds)


def limit_lock_waits(connection: BaseDatabaseWrapper, seconds: float) -> None:
    """Let MariaDB or MySQL wait for a row lock for less than ``seconds``; a shorter wait of the project is kept."""
    limit = max(1, int(seconds * LOCK_WAIT_SHARE))
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, {limit})")


@contextmanager
def bounded(connection: BaseDatabaseWrapper, seconds: float = WRITE_TIMEOUT) -> Iterator[None]:
    """No wait for this connection is endless in the block.

    Where ``start_watchdog`` was called, its limit holds; elsewhere (senders, tasks, commands) each statement may take
    ``seconds``, infinity for those that may take any time.
    """
    limit = _watchdog
    if is_sqlite(connection):
        yield
    elif limit is not None and limit.is_mine:
        with limit.within(connection):
            yield
    elif math.isinf(seconds):
        yield
    else:
        with statement_timeout(connection, seconds):
            yield


def connect(connection: BaseDatabaseWrapper) -> None:
    """Open a connection unless it is open; that takes ``CONNECT_SECONDS``, unless the project's ``OPTIONS`` say."""
    if connection.connection is not None:
        return
    known = connection.settings_dict
    options = known.get("OPTIONS") or {}
    driver = getattr(getattr(connection, "Database", None), "__name__", "")
    if driver not in DRIVERS or "connect_timeout" in options or "pool" in options:
        connection.ensure_connection()
        return
    # This thread's own copy: what the project opens by itself is as it was.
    connection.settings_dict = {**known, "OPTIONS": {"connect_timeout": CONNECT_SECONDS, **options}}
    try:
        connection.ensure_connection()
    finally:
        connection.settings_dict = known


def add_driver_timeouts(connection: BaseDatabaseWrapper, seconds: float) -> None:
    """The time-outs that the driver itself has, each only where the project's ``OPTIONS`` say nothing about it."""
    driver = getattr(getattr(connection, "Database", None), "__name__", "")
    options = connection.settings_dict.get("OPTIONS") or {}
    connection.settings_dict["OPTIONS"] = {**driver_timeouts(driver, seconds), **options}


def driver_timeouts(driver: str, seconds: float) -> dict[str, Any]:
    """The options of a driver, by the name of its module."""
    if driver in POSTGRES_DRIVERS:
        return {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": max(1, int(seconds / 2)),
            "keepalives_interval": max(1, int(seconds / 2 / KEEPALIVE_COUNT)),
            "keepalives_count": KEEPALIVE_COUNT,
            "tcp_user_timeout": int(seconds * 1000),
        }
    if driver in MARIADB_DRIVERS:
        # Later than the watching thread, which says so; for waits that it cannot see.
        whole = int(seconds) + 5
        return {"connect_timeout": CONNECT_SECONDS, "read_timeout": whole, "write_timeout": whole}
    return {}
