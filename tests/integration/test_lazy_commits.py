"""What PostgreSQL may forget in a crash: a statement that says so commits without waiting for the disk; others wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction
from django.utils import timezone

from django_cluster.database.row_update import update_row
from django_cluster.models import TrackedTask
from tests.brokers import known_database
from tests.servers import PostgresServer

KEY = "a" * 32
TRIES = 50


@pytest.fixture
def alias(postgres_server: PostgresServer, django_db_blocker: Any) -> Iterator[str]:
    name = f"lazy_{uuid4().hex}"
    postgres_server.create_database(name)
    with django_db_blocker.unblock(), known_database(postgres_server.database(name)) as alias:
        with connections[alias].schema_editor() as editor:
            editor.create_model(TrackedTask)
        rows = TrackedTask.objects.using(alias)
        rows.create(id=KEY, name="n", func="a.b", status="queued", enqueued_at=timezone.now())
        yield alias
    postgres_server.drop_database(name)


def setting(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        found: str = cursor.fetchone()[0]
    return found


def waits(alias: str, attempt: int, *, lazy: bool) -> bool:
    """Whether all that was written was flushed when the statement returned."""
    with connections[alias].cursor() as cursor:
        assert update_row(cursor, TrackedTask, KEY, {"attempt": attempt}, where={"attempt": attempt - 1}, lazy=lazy)
        cursor.execute("SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()")
        flushed: bool = cursor.fetchone()[0]
    return flushed


def test_a_lazy_statement_does_not_wait_for_the_disk(alias: str) -> None:
    eager = [waits(alias, attempt, lazy=False) for attempt in range(1, 6)]
    lazy = [waits(alias, attempt, lazy=True) for attempt in range(6, 6 + TRIES)]

    assert not all(lazy), "the log writer may have been quicker once, not each time"
    assert any(eager)
    assert setting(alias) == "on"


def test_in_the_caller_s_transaction_nothing_is_lazy(alias: str) -> None:
    with transaction.atomic(using=alias):
        waits(alias, 1, lazy=True)
        inside = setting(alias)

    assert inside == "on"
