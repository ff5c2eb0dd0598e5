"""The session in which results, heartbeats and operator commands are read and written."""

from __future__ import annotations

from django.db import Error

from django_cluster.core.backoff import first_line
from django_cluster.database.connection import is_missing_table
from django_cluster.database.session import Session
from django_cluster.errors import StoreUnavailable


def results_session(alias: str) -> Session:
    """Return a session that raises ``StoreUnavailable`` for every error of the database."""
    return Session(alias, results_error)


def results_error(alias: str, error: Error) -> StoreUnavailable:
    hint = "; run manage.py migrate" if is_missing_table(error) else ""
    return StoreUnavailable(f"The results in database {alias!r} cannot be used{hint}: {first_line(error)}")
