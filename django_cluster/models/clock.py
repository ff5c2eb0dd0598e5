"""The clock of the database: one for every host that writes to it, whatever their own say."""

from __future__ import annotations

import math
import time
from typing import Any

from django.db import models
from django.db.models.expressions import Func

NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000)::bigint",
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
}
"""Microseconds since 1970, by vendor; the moment stands still during a statement."""

READ_ONLY = {
    "sqlite": "0",
    "postgresql": "CASE current_setting('transaction_read_only') WHEN 'on' THEN 1 ELSE 0 END",
    "mysql": "CASE WHEN CAST(@@global.read_only AS CHAR) IN ('0', 'OFF') THEN 0 ELSE 1 END",
}
"""1 if the server takes no writes, by vendor: after a fail-over, an old connection may lead to one."""

MICROSECONDS = 1_000_000
"""Of a second."""


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

    def learn(self, asked: float, answered: float, told: int) -> None:
        """``asked`` and ``answered`` are seconds of the monotonic clock, ``told`` are microseconds since 1970."""
        self._bounds = told / MICROSECONDS - answered, told / MICROSECONDS - asked

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


class DatabaseClock(Func):
    """Microseconds since 1970, in any query. Where the database has no such clock, this host's."""

    output_field = models.BigIntegerField()

    def __init__(self) -> None:
        super().__init__()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        sql = NOW.get(connection.vendor)
        return (sql, []) if sql else ("%s", [int(time.time() * MICROSECONDS)])
