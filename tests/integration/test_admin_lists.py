"""The lists of finished tasks with very many rows: what the databases are asked, and how they go about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.test import RequestFactory

from django_cluster.admin import search
from django_cluster.core.settings import ResultSettings
from django_cluster.models import Failure, Success
from django_cluster.stores.orm import OrmResults
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.datetimes import utc
from tests.servers import MariaDBServer, PostgresServer

ALIAS = "many rows"
MANY = 60_000
LOOKED_AT = 5000
"""In place of 100,000, so that the test need not fill a table for a minute."""

Statement = tuple[str, Any]
COLUMNS = (
    'id, name, func, "group", queue, status, success, final, attempt_count, enqueued_at, started_at, stopped_at, '
    "worker, error_kind, error_message, error_traceback"
)
VALUES = (
    "'app.tasks.work', {group}, 'tests', {status}, {success}, TRUE, 1, "
    "{moment}, {moment}, {moment}, 'worker 1', '', '', ''"
)
FILL = {
    "sqlite": (
        f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY}) "
        f"INSERT INTO django_cluster_task ({COLUMNS}) SELECT printf('%032x', n), 'name-' || n, "
        + VALUES.format(
            group="'group-' || (n % 1000)",
            status="CASE WHEN n % 10 THEN 'success' ELSE 'failure' END",
            success="n % 10 <> 0",
            moment="datetime('2026-01-01', n || ' seconds')",
        )
        + " FROM numbers"
    ),
    "postgresql": (
        f"INSERT INTO django_cluster_task ({COLUMNS}) SELECT lpad(to_hex(n), 32, '0'), 'name-' || n, "
        + VALUES.format(
            group="'group-' || (n % 1000)",
            status="CASE WHEN n % 10 <> 0 THEN 'success' ELSE 'failure' END",
            success="n % 10 <> 0",
            moment="timestamptz '2026-01-01' + n * interval '1 second'",
        )
        + f" FROM generate_series(1, {MANY}) AS numbers(n)"
    ),
    "mysql": (
        f"INSERT INTO django_cluster_task ({COLUMNS.replace(chr(34), '`')}) "
        "SELECT lpad(hex(seq), 32, '0'), concat('name-', seq), "
        + VALUES.format(
            group="concat('group-', seq % 1000)",
            status="if(seq % 10, 'success', 'failure')",
            success="seq % 10 <> 0",
            moment="timestamp'2026-01-01 00:00:00' + interval seq second",
        )
        + f" FROM seq_1_to_{MANY}"
    ),
}

QUESTIONS: dict[str, dict[str, str]] = {
    "the list": {},
    "a late page": {"p": "100"},
    "an id": {"q": f"{77:032x}"},
    "a name": {"q": "name-77"},
    "a group": {"q": "group-77"},
    "a text that is nowhere": {"q": "nowhere"},
    "a qualified text that is nowhere": {"q": "func:nowhere worker:nobody"},
    "an error that is nowhere": {"q": "error:Nothing"},
    "a span of time": {"stopped_at__gte": str(utc(2026, 1, 1, 10)), "stopped_at__lt": str(utc(2026, 1, 1, 10, 5))},
    "a group in the filter": {"group": "group-77"},
    "a cluster in the filter": {"queue": "nobody"},
    "a function in the filter": {"func": "app.tasks.nothing"},
}


def fill(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL[connection.vendor])
        analyze = "ANALYZE TABLE" if connection.vendor == "mysql" else "ANALYZE"
        cursor.execute(f"{analyze} django_cluster_task")


@pytest.fixture(scope="class")
def use_database(django_db_blocker: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    def use(entry: dict[str, Any]) -> None:
        connections.databases[ALIAS] = connections.configure_settings({"default": {}, ALIAS: entry})[ALIAS]
        executor = MigrationExecutor(connections[ALIAS])
        executor.migrate(executor.loader.graph.leaf_nodes("django_cluster"))
        fill(connections[ALIAS])

    with django_db_blocker.unblock():
        yield use
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


def open_list(model: type[Any], query: dict[str, str]) -> tuple[str, list[Statement]]:
    """The page as somebody sees it who may do everything, and what the database was asked for it."""
    asked: list[Statement] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, *rest: Any) -> Any:
        asked.append((sql, params))
        return execute(sql, params, *rest)

    request = RequestFactory().get("/", query)
    request.user = User(username="boss", is_staff=True, is_superuser=True)
    request.session = {}  # type: ignore[assignment]  # nothing is kept in it
    with connections[ALIAS].execute_wrapper(note):
        response: Any = admin.site.get_model_admin(model).changelist_view(request)
        if hasattr(response, "render"):
            response.render()
    assert response.status_code == 200, response
    return response.content.decode(), asked


class ListsOfMany:
    """The same for each database."""

    @pytest.fixture(autouse=True)
    def _settings(self, database: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.Q_CLUSTER = {"name": "tests", "results_db": ALIAS}
        monkeypatch.setattr(search, "MAX_SEARCHED", LOOKED_AT)

    def touched(self, statement: Statement) -> int:
        """How many rows or index entries the database looked at for this, more or less."""
        raise NotImplementedError

    @pytest.mark.parametrize("model", [Success, Failure])
    @pytest.mark.parametrize("question", QUESTIONS)
    def test_a_list_asks_few_questions_and_none_of_the_whole_table(self, model: type[Any], question: str) -> None:
        _, asked = open_list(model, QUESTIONS[question])

        assert len(asked) <= 10
        for statement in asked:
            assert self.touched(statement) <= 2 * search.MAX_LISTED + 100, statement

    def test_a_kind_of_error_is_looked_for_among_the_newest(self) -> None:
        _, asked = open_list(Failure, {"error_kind": "Nothing"})

        for statement in asked:
            assert self.touched(statement) <= 2 * search.MAX_LISTED + 100, statement

    def test_the_newest_come_first_and_are_not_all_counted(self) -> None:
        text, _ = open_list(Success, {})

        assert f"name-{MANY - 1}" in text
        assert "10,000+ successful tasks" in text
        assert "there are more" in text

    def test_what_an_index_knows_is_found_however_old_it_is(self) -> None:
        for query in ({"q": f"{7:032x}"}, {"q": "name-7"}, {"q": "name:name-7"}, {"q": "group-7 id:" + f"{7:032x}"}):
            text, _ = open_list(Success, query)
            assert ">name-7<" in text, query

    def test_other_text_is_looked_for_among_the_newest_only(self) -> None:
        store = OrmResults(ResultSettings(save_limit=0, database=ALIAS))
        old = make_outcome(func="rare.old", stopped_at=1_700_000_000.0, name="the old one")
        new = make_outcome(func="rare.new", name="the new one")
        store.save([old, new])

        for query in ({"q": "rare"}, {"q": "func:rare."}):
            text, _ = open_list(Success, query)
            assert "the new one" in text
            assert "the old one" not in text
        store.delete(old.id)
        store.delete(new.id)

    def test_an_error_is_found_by_its_kind_or_its_words(self) -> None:
        store = OrmResults(ResultSettings(save_limit=0, database=ALIAS))
        failure = make_failure(name="the broken one", failure=("app.Bankrupt", "no money left", ""))
        store.save([failure])

        for query in ({"q": "error:bankrupt"}, {"q": 'error:"money left"'}):
            assert "the broken one" in open_list(Failure, query)[0]
        assert "the broken one" not in open_list(Failure, {"q": 'error:"money right"'})[0]
        store.delete(failure.id)


class TestListsInSQLite(ListsOfMany):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(tmp_path_factory: pytest.TempPathFactory, use_database: Callable[[dict[str, Any]], None]) -> None:
        file: Path = tmp_path_factory.mktemp("many") / "many.sqlite3"
        use_database({"ENGINE": "django.db.backends.sqlite3", "NAME": file})

    def touched(self, statement: Statement) -> int:
        """SQLite says how, not how many: so by the steps of its machine, of which a row takes several."""
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with connections[ALIAS].cursor() as cursor:
            raw = cursor.connection
            raw.set_progress_handler(count, 1000)
            try:
                cursor.execute(*statement)
                cursor.fetchall()
            finally:
                raw.set_progress_handler(None, 0)
        return steps * 1000 // 12


class TestListsInPostgreSQL(ListsOfMany):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(postgres_server: PostgresServer, use_database: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        name = f"many_{uuid4().hex}"
        postgres_server.create_database(name)
        use_database(postgres_server.database(name))
        yield
        connections[ALIAS].close()
        postgres_server.drop_database(name)

    def touched(self, statement: Statement) -> int:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement[0]}", statement[1])
            found = cursor.fetchone()[0]
        return most_rows((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])


class TestListsInMariaDB(ListsOfMany):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(mariadb_server: MariaDBServer, use_database: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        name = f"many_{uuid4().hex}"
        mariadb_server.create_database(name)
        use_database(mariadb_server.database(name))
        yield
        connections[ALIAS].close()
        mariadb_server.drop_database(name)

    def touched(self, statement: Statement) -> int:
        """What the server counts itself while it answers."""
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("FLUSH STATUS")
            cursor.execute(*statement)
            cursor.fetchall()
            cursor.execute("SHOW STATUS LIKE 'Handler_read%%'")
            return sum(int(value) for name, value in cursor.fetchall() if not re.search("deleted|retry", name))


def most_rows(plan: dict[str, Any]) -> int:
    """The rows that the busiest step of a plan has looked at."""
    here = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return max([int(here), *(most_rows(inner) for inner in plan.get("Plans", ()))])
