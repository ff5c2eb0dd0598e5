"""The session in which the ORM broker reads and writes its queue."""

from __future__ import annotations

from django.db import Error, InterfaceError, InternalError, OperationalError

from django_cluster.database.connection import is_missing_table
from django_cluster.database.session import Session
from django_cluster.errors import BrokerError, BrokerRefused, BrokerUnavailable


def queue_session(alias: str) -> Session:
    """A session that raises ``BrokerUnavailable`` where a later try may succeed, else ``BrokerRefused``."""
    return Session(alias, queue_error)


def queue_error(alias: str, error: Error) -> BrokerError:
    kind: type[BrokerError] = BrokerRefused
    what = "refused"
    if is_missing_table(error):
        what = "lacks the queue table (run manage.py migrate)"
    elif isinstance(error, OperationalError | InterfaceError | InternalError):
        kind, what = BrokerUnavailable, "cannot be used now"
    return kind(f"The database {alias!r} {what}: {str(error).strip()}")
