"""How PostgreSQL keeps large values, which only the real one can say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connections

from tests.brokers import known_database
from tests.servers import PostgresServer

COLUMNS = (
    "SELECT attname, attstorage FROM pg_attribute WHERE attname IN ('payload', 'sealed_arguments', 'sealed_result')"
)


@pytest.fixture
def alias(postgres_server: PostgresServer, django_db_blocker: Any) -> Iterator[str]:
    name = f"storage_{uuid4().hex}"
    postgres_server.create_database(name)
    with django_db_blocker.unblock(), known_database(postgres_server.database(name)) as alias:
        yield alias
    postgres_server.drop_database(name)


def storage(alias: str) -> dict[tuple[str, str], str]:
    """EXTENDED is x (PostgreSQL's choice), EXTERNAL is e, MAIN is m."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"{COLUMNS} AND attrelid = 'django_cluster_queuedtask'::regclass")
        queue = {("queue", name): kind for name, kind in cursor.fetchall()}
        cursor.execute(f"{COLUMNS} AND attrelid = 'django_cluster_task'::regclass AND attname LIKE 'sealed%%'", [])
        return queue | {("rows", name): kind for name, kind in cursor.fetchall()}


def test_large_values_are_kept_as_they_are(alias: str) -> None:
    call_command("migrate", "django_cluster", database=alias, verbosity=0)

    assert storage(alias) == {
        ("queue", "payload"): "e",
        ("rows", "sealed_arguments"): "e",
        ("rows", "sealed_result"): "e",
    }


def test_what_the_administrator_has_chosen_stays(alias: str) -> None:
    call_command("migrate", "django_cluster", database=alias, verbosity=0)
    with connections[alias].cursor() as cursor:
        cursor.execute("ALTER TABLE django_cluster_task ALTER sealed_result SET STORAGE EXTENDED")

    call_command("migrate", database=alias, verbosity=0)

    assert storage(alias)["rows", "sealed_result"] == "x"
