"""The clock of the database: one for every host that writes to it, whatever their own say."""

from __future__ import annotations

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

MICROSECONDS = 1_000_000
"""Of a second."""


class DatabaseClock(Func):
    """Microseconds since 1970, in any query. Where the database has no such clock, this host's."""

    output_field = models.BigIntegerField()

    def __init__(self) -> None:
        super().__init__()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        sql = NOW.get(connection.vendor)
        return (sql, []) if sql else ("%s", [int(time.time() * MICROSECONDS)])
