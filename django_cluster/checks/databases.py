"""Databases of the project, as Django system checks."""

from __future__ import annotations

from collections.abc import Collection

from django.core.checks import CheckMessage, Warning, register

from django_cluster import conf
from django_cluster.checks.messages import TAG
from django_cluster.core.settings import problems
from django_cluster.core.sqlite_options import is_shared_file, missing_options

SQLITE_HINT = (
    'Set "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20}: while a cluster writes, what others write would'
    ' sometimes fail with "database is locked".'
)


@register(TAG)
def check_sqlite(
    app_configs: object = None, databases: Collection[str] | None = None, **_: object
) -> list[CheckMessage]:
    """Check SQLite databases for options without which web processes fail while a cluster writes.

    Nothing is said by ``migrate`` and by tests, which name databases: nothing else writes then.
    """
    if databases:
        return []
    found: list[CheckMessage] = []
    for alias, database in conf.databases().items():
        if is_shared_file(database) and (missing := missing_options(database)):
            sentence = f"The database {alias!r} is SQLite, and its OPTIONS lack {' and '.join(map(repr, missing))}."
            found.append(Warning(sentence, hint=SQLITE_HINT, id=f"{TAG}.{problems.SQLITE_LOCKS}"))
    return found
