"""Results that are too large for one statement of PostgreSQL, or for any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connections
from django.test.utils import CaptureQueriesContext

from django_cluster.core.postgres_arrays import packed_bytes_array
from django_cluster.core.settings import ResultSettings
from django_cluster.database import array_parameters
from django_cluster.database.refused_values import is_data_error
from django_cluster.models import Task
from django_cluster.stores.orm import OrmResults
from django_cluster.testing.outcomes import make_outcome
from tests.brokers import known_database
from tests.servers import PostgresServer


@pytest.fixture(scope="module")
def alias(postgres_server: PostgresServer, django_db_blocker: Any) -> Iterator[str]:
    name = f"large_{uuid4().hex}"
    postgres_server.create_database(name)
    with django_db_blocker.unblock(), known_database(postgres_server.database(name)) as alias:
        call_command("migrate", "django_cluster", database=alias, verbosity=0)
        yield alias
        connections[alias].close()
        postgres_server.drop_database(name)


@pytest.fixture
def rows(alias: str) -> Iterator[Any]:
    yield Task.objects.using(alias)
    Task.objects.using(alias).all().delete()


def results(alias: str) -> OrmResults:
    return OrmResults(ResultSettings(save_limit=0, database=alias))


@pytest.mark.parametrize("heavy", [1, array_parameters.HEAVY], ids=["beside", "within"])
def test_a_batch_of_large_results_is_several_statements(
    alias: str, rows: Any, monkeypatch: pytest.MonkeyPatch, heavy: int
) -> None:
    monkeypatch.setattr(array_parameters, "HEAVY", heavy)
    monkeypatch.setattr(array_parameters, "LARGEST_STATEMENT", 3000)
    seen: list[int] = []

    def count(values: Sequence[Any]) -> bytes:
        seen.append(len(values))
        return packed_bytes_array(values)

    monkeypatch.setattr("django_cluster.database.array_parameters.packed_bytes_array", count)
    outcomes = [make_outcome(id=f"{number:032x}", result=bytes([number]) * 1000) for number in range(7)]

    with CaptureQueriesContext(connections[alias]) as queries:
        results(alias).save(outcomes)

    inserts = [query for query in queries if "INSERT" in query["sql"]]
    assert len(inserts or seen) >= 3
    kept = dict(rows.values_list("id", "sealed_result"))
    assert {key: bytes(value) for key, value in kept.items()} == {each.id: each.result for each in outcomes}


def test_a_row_that_is_larger_than_any_is_reduced_and_the_others_are_kept(
    alias: str, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_parameters, "LARGEST_ROW", 50_000)
    outcomes = [make_outcome(id=f"{number:032x}", result=b"x" * size) for number, size in enumerate([100, 60_000])]

    results(alias).save(outcomes)

    small, large = rows.order_by("id")
    assert small.success
    assert bytes(small.sealed_result) == outcomes[0].result
    assert large.sealed_result is None
    assert "more than PostgreSQL takes" in large.error_message


def test_what_is_beyond_the_limits_of_postgresql_concerns_the_data(alias: str) -> None:
    with pytest.raises(DatabaseError) as caught, connections[alias].cursor() as cursor:
        cursor.execute("SELECT repeat('x', 1073741824)")

    assert caught.value.__cause__.sqlstate.startswith("54")  # type: ignore[union-attr]
    assert is_data_error(caught.value)


def test_a_server_that_is_going_away_does_not(alias: str) -> None:
    with pytest.raises(DatabaseError) as caught, connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    connections[alias].close()
    assert not is_data_error(caught.value)
