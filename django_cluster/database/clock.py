"""The clock of the database: one for every host that writes to it, whatever the clocks of the hosts show."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Func
from django.utils import timezone

from django_cluster.core.time import from_unix_time
from django_cluster.database.dialect import NOW, READ_ONLY, by_vendor
from django_cluster.database.watchdog import bounded
from django_cluster.models.schedule import Schedule

MICROSECONDS = 1_000_000
"""In a second."""
CLOCK_CACHE_SECONDS = 5.0
"""Seconds for which the clock of a server is calculated from its last answer."""
FOREVER = 1 << 62
"""A moment that no clock reaches, in microseconds."""


class ClockOffset:
    """How far the clock of a server is ahead of the monotonic clock of this process, learned from its answers.

    An answer says what the server's clock showed at some moment between the question and the answer, so it bounds the
    offset from both sides.
    """

    def __init__(self) -> None:
        self._bounds: tuple[float, float] | None = None

    @property
    def known(self) -> bool:
        """Whether there has been an answer."""
        return self._bounds is not None

    def learn(self, asked: float, answered: float, server_time: int) -> None:
        """``asked``, ``answered``: seconds of the monotonic clock; ``server_time``: microseconds since 1970."""
        self._bounds = server_time / MICROSECONDS - answered, server_time / MICROSECONDS - asked

    def latest(self, moment: float) -> int:
        """The reading of the server's clock that it does not pass before ``moment`` of the monotonic clock.

        Microseconds since 1970. A moment that is infinitely far away is ``FOREVER``; where nothing was learned, no
        reading will do, and it is 0.
        """
        if math.isinf(moment):
            return FOREVER
        return 0 if self._bounds is None else int((moment + self._bounds[0]) * MICROSECONDS)

    def reading(self, moment: float) -> float:
        """What the server's clock shows at ``moment`` of the monotonic clock, in seconds since 1970; it is learned."""
        assert self._bounds is not None
        return moment + sum(self._bounds) / 2


class DatabaseServerClock:
    """The clock of a database, so that hosts whose clocks differ agree on what is due.

    Asks the server every few seconds and counts by the monotonic clock in between. With the question, it finds out
    whether an old connection leads to a server that takes no writes any more. Called, it returns the moment like
    ``timezone.now()``: aware, or naive without ``USE_TZ``. Raises the errors of the database.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._offset = ClockOffset()
        self._ask_at = 0.0

    def __call__(self) -> datetime:
        connection = connections[self._alias]
        if by_vendor(connection, NOW) is None:
            return timezone.now()
        if time.monotonic() >= self._ask_at:
            self._ask(connection)
        seconds = self._offset.reading(time.monotonic())
        return from_unix_time(seconds)

    def _ask(self, connection: BaseDatabaseWrapper) -> None:
        asked = time.monotonic()
        with bounded(connection), connection.cursor() as cursor:
            cursor.execute(f"SELECT {by_vendor(connection, NOW)}, {by_vendor(connection, READ_ONLY)}")
            now, read_only = cursor.fetchone()
            answered = time.monotonic()
            if read_only:
                # A write that changes nothing: an error, unless this account may write all the same.
                table = connection.ops.quote_name(Schedule._meta.db_table)
                cursor.execute(f"UPDATE {table} SET runs = runs WHERE id = 0")  # noqa: S608  our own table
        self._offset.learn(asked, answered, int(now))
        self._ask_at = answered + CLOCK_CACHE_SECONDS


class DatabaseClock(Func):
    """Microseconds since 1970, in any query. Where the database has no such clock, this host's."""

    output_field = models.BigIntegerField()

    def __init__(self) -> None:
        super().__init__()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        sql = by_vendor(connection, NOW)
        return (sql, []) if sql else ("%s", [int(time.time() * MICROSECONDS)])
