"""The rows of results: whatever a value among them is, it stops no other, and nothing but the store's own errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_cluster.core.settings import ResultSettings
from django_cluster.models import Task
from django_cluster.models.task import saved_tasks
from django_cluster.stores.orm import OrmResults
from django_cluster.testing.outcomes import make_outcome
from tests.brokers import known_database
from tests.examples import examples
from tests.fuzz.hostile_values import CANNOT_TRAVEL, TEXTS
from tests.servers import MariaDBServer, PostgresServer

FEW = 30

texts = st.one_of(st.sampled_from([*CANNOT_TRAVEL, *TEXTS.values()]), st.text(max_size=300))
moments = st.one_of(st.floats(), st.integers(-(2**70), 2**70).map(float))
fields = st.fixed_dictionaries(
    {},
    optional={
        "name": texts, "func": texts, "worker": texts, "payload": texts, "failure": st.tuples(texts, texts, texts),
        "attempt": st.integers(-(2**70), 2**70), "started_at": moments, "stopped_at": moments, "enqueued_at": moments,
        "arguments": st.binary(max_size=50), "result": st.binary(max_size=50),
        "options": st.fixed_dictionaries({}, optional={"group": texts, "queue": texts, "hook": texts}),
        "status": st.sampled_from(["success", "failure", "rejected", "timeout"]),
    },
)  # fmt: skip
"""What may come in the label of a message, or from the code of a task."""


class RowsContract:
    """``database``: an entry of Django's settings, for an empty database."""

    @pytest.fixture
    def alias(self, database: Mapping[str, Any], django_db_blocker: Any) -> Iterator[str]:
        with django_db_blocker.unblock(), known_database(dict(database)) as alias:
            with connections[alias].schema_editor() as editor:
                editor.create_model(Task)
            yield alias

    def test_one_value_stops_no_other_row(self, alias: str) -> None:
        store = OrmResults(ResultSettings(save_limit=0, database=alias))

        @settings(max_examples=examples(FEW), derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        @given(odd=st.lists(fields, min_size=1, max_size=5))
        def the_others_are_saved(odd: list[dict[str, Any]]) -> None:
            good = make_outcome()

            store.save([*(make_outcome(**{"id": uuid4().hex, **each}) for each in odd), good])

            assert saved_tasks(alias).filter(pk=good.id).exists()

        the_others_are_saved()


class TestSQLite(RowsContract):
    @pytest.fixture
    def database(self, tmp_path: Any) -> dict[str, Any]:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "rows.sqlite3")}


class TestPostgreSQL(RowsContract):
    @pytest.fixture
    def database(self, postgres_server: PostgresServer) -> Iterator[dict[str, Any]]:
        name = f"rows_{uuid4().hex}"
        postgres_server.create_database(name)
        yield postgres_server.database(name)
        postgres_server.drop_database(name)


class TestMariaDB(RowsContract):
    @pytest.fixture
    def database(self, mariadb_server: MariaDBServer) -> Iterator[dict[str, Any]]:
        name = f"rows_{uuid4().hex}"
        mariadb_server.create_database(name)
        yield mariadb_server.database(name)
        mariadb_server.drop_database(name)
