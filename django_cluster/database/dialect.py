"""What differs between the databases that Django speaks to, by ``connection.vendor``.

MySQL and MariaDB have the vendor ``mysql``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

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


def is_sqlite(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "sqlite"


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql"


def is_mysql(connection: BaseDatabaseWrapper) -> bool:
    """Whether this is MySQL or MariaDB."""
    return connection.vendor == "mysql"


def by_vendor(connection: BaseDatabaseWrapper, choices: Mapping[str, T]) -> T | None:
    """The choice for this connection's database; None for a database that ``choices`` does not name."""
    return choices.get(connection.vendor)
