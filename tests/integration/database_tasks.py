"""Tasks and routers for the tests of databases."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, connections, transaction

SESSION = {
    "postgresql": "SELECT pg_backend_pid()",
    "mysql": "SELECT connection_id()",
    "sqlite": "SELECT 0",
}
"""The number under which the server knows our connection."""


def session_of(alias: str = "default") -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute(SESSION[connections[alias].vendor])
        return int(cursor.fetchone()[0])


def session() -> tuple[int, int]:
    """Who we are, and who the server says that we are."""
    return os.getpid(), session_of()


def create(name: str) -> int:
    """Work as a project would do it: in a transaction, with a cursor on the server where there may be one."""
    with transaction.atomic():
        Group.objects.create(name=name)
        return sum(1 for _ in Group.objects.filter(name=name).iterator(chunk_size=1))


def leave_transaction_open() -> None:
    connection.set_autocommit(False)
    Group.objects.create(name="never committed")


def hook_that_leaves_a_transaction_open(task: Any) -> None:
    leave_transaction_open()


def hook_that_reads_elsewhere(task: Any) -> None:
    """Write down what came of reading from a database that is not that of the results."""
    from pathlib import Path

    with Path(task.group).open("a", encoding="utf-8") as trace:
        trace.write(f"{os.getpid()} {session_of('other')}\n")


def hook_that_alters_the_session(task: Any, statements: str = "") -> None:
    """What a project of many tenants may do, and forget to put back."""
    with connection.cursor() as cursor:
        cursor.execute("SET search_path TO pg_catalog")
        cursor.execute("SET default_transaction_read_only = on")
        cursor.execute("SET ROLE pg_monitor")


class ReadsFromReplica:
    """All that is written goes to ``default``, all that is read comes from a replica that lags behind."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


class TasksApart:
    """Our tables live in ``tasks``, the project's in ``default``."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "tasks" if model._meta.app_label == "django_cluster" else None

    db_for_write = db_for_read
