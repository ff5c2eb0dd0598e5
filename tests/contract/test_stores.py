"""The contract of result stores against each adapter, on real servers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.cache import caches
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model

from django_cluster.core.settings import ResultSettings
from django_cluster.errors import ResultsPruned
from django_cluster.models import QueuedTask, Rollup, Schedule, Task, TaskGroup
from django_cluster.models.task import saved_tasks
from django_cluster.stores import open_results
from django_cluster.stores.base import ResultStore
from django_cluster.stores.cache import CachedResults
from django_cluster.stores.orm import OrmResults
from django_cluster.testing.outcomes import make_failure, make_outcome
from django_cluster.testing.store_contract import ResultStoreContract, found, ids
from tests.contract.history_contract import HistoryContract
from tests.servers import MariaDBServer, MySQLServer, PostgresServer, RedisServer

ALIAS = "results of the contract"
YESTERDAY = time.time() - 24 * 3600.0
KEEP_ALL = ResultSettings(save_limit=0, database=ALIAS)
UseDatabase = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="class")
def use_database(django_db_blocker: Any) -> Iterator[UseDatabase]:
    """Make a database known to Django, with our tables, for the tests of a class."""

    def use(entry: dict[str, Any]) -> None:
        connections.databases[ALIAS] = connections.configure_settings({"default": {}, ALIAS: entry})[ALIAS]
        executor = MigrationExecutor(connections[ALIAS])
        executor.migrate(executor.loader.graph.leaf_nodes("django_cluster"))

    with django_db_blocker.unblock():
        yield use
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


@pytest.fixture
def open_store(database: None) -> Iterator[Callable[..., OrmResults]]:
    """Opens stores on one table, which is empty again after the test."""

    def open_one(history_of: str | None = None, **changes: Any) -> OrmResults:
        return OrmResults(ResultSettings(**{"save_limit": 0, "database": ALIAS, **changes}), history_of=history_of)

    yield open_one
    saved_tasks(ALIAS).delete()
    Rollup.objects.using(ALIAS).all().delete()


def prune_all(store: OrmResults) -> None:
    """One call works for half a second at most, and leaves the rest to the next."""
    for _ in range(20):
        before = saved_tasks(ALIAS).count()
        store.prune()
        if saved_tasks(ALIAS).count() == before and not store._pruner._exceeded:
            return


class RowsContract(ResultStoreContract, HistoryContract):
    """What the databases share beyond the contract."""

    @pytest.fixture
    def store(self, open_store: Callable[..., OrmResults]) -> OrmResults:
        return open_store()

    @pytest.mark.parametrize("model", [Task, Schedule, QueuedTask])
    def test_the_models_suit_the_database(self, model: type[Model], store: ResultStore) -> None:
        assert model.check(databases=[ALIAS]) == []

    def test_a_batch_of_first_successes_is_one_statement(self, store: ResultStore) -> None:
        outcomes = [make_outcome() for _ in range(200)]
        statements: list[str] = []

        def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            statements.append(sql)
            return execute(sql, *rest)

        with connections[ALIAS].execute_wrapper(note):
            store.save(outcomes)

        assert sum(sql.startswith("INSERT") for sql in statements) == 1
        assert not any(sql.startswith("SELECT") and "django_cluster_task" in sql for sql in statements)

    def test_a_batch_that_fails_leaves_nothing(self, store: ResultStore) -> None:
        outcome = make_outcome()

        def save_and_fail() -> None:
            with store.batch():
                store.save([outcome])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            save_and_fail()

        assert store.get(outcome.id) is None

    def test_a_save_joins_the_transaction_of_its_caller(self, store: ResultStore) -> None:
        outcome = make_outcome(started_at=1e300)

        with transaction.atomic(using=ALIAS):
            store.save([outcome, make_failure()])
            transaction.set_rollback(True, using=ALIAS)

        assert store.get(outcome.id) is None

    def test_a_task_is_found_by_its_name(self, store: ResultStore) -> None:
        older = make_outcome(name="census", stopped_at=1_700_000_000.0)
        newer = make_outcome(name="census", stopped_at=1_700_000_001.0)

        store.save([newer, older])

        assert found(store, "census").id == newer.id

    def test_a_name_of_32_hex_digits_is_a_name_too(self, store: ResultStore) -> None:
        name = uuid4().hex
        outcome = make_outcome(name=name)

        store.save([outcome])

        assert found(store, name).id == outcome.id

    def test_a_row_names_the_queue_on_which_the_task_was_run(self, store: ResultStore) -> None:
        hook = "tests.sample.hooks.note"
        usual, special = make_outcome(queue="the queue"), make_outcome(options={"queue": "slow", "hook": hook})

        store.save([usual, special])

        assert found(store, usual.id).queue == "the queue"
        assert found(store, special.id).queue == "slow"
        assert found(store, special.id).hook == hook

    def test_texts_come_back_as_they_are_whatever_they_look_like(self, store: ResultStore) -> None:
        texts = ["NULL", "", " a b ", '"', "\\", '\\"', "{a,b}", ",", "a\nb", "$1", "%s", "\\x41", "ä€𝄞", '","']
        outcomes = [make_outcome(name=text, options={"group": text or None}) for text in texts]

        store.save(outcomes)

        rows = [found(store, outcome.id) for outcome in outcomes]
        assert [row.name for row in rows] == texts
        assert [row.group for row in rows] == [text or None for text in texts]

    def test_large_values_come_back_whole(self, store: ResultStore) -> None:
        values = [os.urandom(70_000), None, b"", b"\0" * 70_000, bytes(range(256))]
        outcomes = [make_outcome(arguments=value, result=value) for value in values]

        store.save(outcomes)

        rows = [found(store, outcome.id) for outcome in outcomes]
        kept = [value and bytes(value) for row in rows for value in (row.sealed_arguments, row.sealed_result)]
        assert kept == [value for value in values for _ in range(2)]

    def test_a_large_value_does_not_hide_a_refused_one(self, store: ResultStore) -> None:
        sound, impossible = make_outcome(result=bytes(70_000)), make_outcome(started_at=1e300)

        store.save([sound, impossible])

        assert bytes(found(store, sound.id).sealed_result or b"") == bytes(70_000)
        assert found(store, impossible.id).id == impossible.id

    def test_a_rejected_message_keeps_its_payload(self, store: ResultStore) -> None:
        outcome = make_failure(status="rejected", payload="dc1p:not:ours\0")

        store.save([outcome])

        task = found(store, outcome.id)
        assert (task.status, task.success) == ("rejected", False)
        assert (task.payload or "").startswith("dc1p:not:ours")

    def test_a_group_can_lose_its_label_only(self, store: ResultStore) -> None:
        outcome = make_outcome(options={"group": "primes"})
        store.save([outcome])

        assert store.delete_group("primes") == 1

        assert store.count("primes") == 0
        assert found(store, outcome.id).group is None

    def test_a_retried_success_that_is_not_kept_leaves_no_failure(self, store: ResultStore) -> None:
        failure = make_failure()
        store.save([failure])

        store.save([make_outcome(id=failure.id, attempt=2, options={"save": False})])

        assert store.get(failure.id) is None

    def test_successes_beyond_the_limit_are_pruned(self, open_store: Callable[..., OrmResults]) -> None:
        store = open_store(save_limit=3)
        outcomes = [make_outcome(stopped_at=1_700_000_000.0 + n) for n in range(8)]
        failure = make_failure(stopped_at=1_600_000_000.0)
        store.save([*outcomes, failure])

        prune_all(store)

        kept = [*(outcome.id for outcome in reversed(outcomes[5:])), failure.id]
        assert ids(list(saved_tasks(ALIAS))) == kept

    @pytest.mark.parametrize("per", ["group", "name", "func"])
    def test_the_limit_can_hold_for_each(self, per: str, open_store: Callable[..., OrmResults]) -> None:
        store = open_store(save_limit=2, save_limit_per=per)
        kinds = [{"options": {"group": kind if per == "group" else None}, "name": kind, "func": kind} for kind in "ab"]
        store.save([make_outcome(**kind, stopped_at=YESTERDAY + n) for kind in kinds for n in range(5)])
        store.save([make_outcome(name="none", func="none", stopped_at=YESTERDAY + n) for n in range(4)])

        prune_all(store)

        assert saved_tasks(ALIAS).count() == 6

    def test_a_group_is_kept_whole_while_somebody_may_still_read_it(
        self, open_store: Callable[..., OrmResults]
    ) -> None:
        store = open_store(save_limit=2)
        store.save([make_outcome(options={"group": "g"}) for _ in range(6)])
        store.save([make_outcome(stopped_at=time.time() - 60) for _ in range(3)])

        prune_all(store)

        assert (store.count("g"), len(store.group("g")), saved_tasks(ALIAS).count()) == (6, 6, 6)
        store.ensure_whole("g")

    def test_an_old_group_goes_as_a_whole_and_what_is_gone_is_known(
        self, open_store: Callable[..., OrmResults]
    ) -> None:
        store = open_store(save_limit=2)
        store.save([make_outcome(options={"group": "g"}, stopped_at=YESTERDAY + n) for n in range(6)])
        store.save([make_failure(options={"group": "g"}, stopped_at=YESTERDAY)])
        store.save([make_outcome() for _ in range(3)])

        prune_all(store)

        assert [task.success for task in store.group("g")] == [False]
        assert (store.count("g"), store.count("g", failures=True)) == (7, 1)
        with pytest.raises(ResultsPruned, match="6 results of the group 'g' are no longer kept"):
            store.ensure_whole("g", failures=False)
        store.delete_group("g")
        store.ensure_whole("g")

    def test_a_group_that_reaches_into_what_is_kept_stays_whole(self, open_store: Callable[..., OrmResults]) -> None:
        store = open_store(save_limit=2)
        store.save([make_outcome(options={"group": "g"}, stopped_at=YESTERDAY + n) for n in range(6)])
        store.save([make_outcome(stopped_at=YESTERDAY - 1)])

        prune_all(store)

        assert (len(store.group("g")), saved_tasks(ALIAS).count()) == (6, 6)

    @pytest.mark.parametrize(
        ("state", "kept"),
        [
            ({"done": 6}, True),
            ({"done": 7, "on_success": "sealed", "success_sent": True}, True),
            ({"done": 7, "failed": 1, "on_failure": "sealed", "failure_sent": True}, True),
            ({"done": 7, "on_failure": "sealed"}, False),
            ({"done": 7}, False),
        ],
    )
    def test_a_group_that_is_at_work_or_whose_callback_has_not_ended_is_kept(
        self, state: dict[str, Any], kept: bool, open_store: Callable[..., OrmResults]
    ) -> None:
        store = open_store(save_limit=2, retention_days={"success": 0.1})
        TaskGroup.objects.using(ALIAS).create(id="g", total=7, **state)
        store.save([make_outcome(options={"group": "g"}, stopped_at=YESTERDAY + n) for n in range(6)])
        store.save([make_outcome() for _ in range(3)])

        prune_all(store)

        assert len(store.group("g")) == (6 if kept else 0)
        TaskGroup.objects.using(ALIAS).all().delete()
        store.delete_group("g", tasks=True)

    def test_a_result_that_is_too_old_is_known_to_be_gone(self, open_store: Callable[..., OrmResults]) -> None:
        store = open_store(retention_days={"success": 0.1})
        store.save([make_outcome(options={"group": "g"}, stopped_at=YESTERDAY), make_outcome(options={"group": "g"})])

        prune_all(store)

        assert store.count("g") == 2
        with pytest.raises(ResultsPruned, match="1 results"):
            store.ensure_whole("g")
        store.delete_group("g")

    def test_two_clusters_may_prune_one_group_at_once(self, open_store: Callable[..., OrmResults]) -> None:
        open_store().save([make_outcome(options={"group": "g"}, stopped_at=YESTERDAY + n) for n in range(300)])
        open_store().save([make_outcome() for _ in range(3)])

        def prune(_: int) -> None:
            try:
                prune_all(open_store(save_limit=2))
            finally:
                connections[ALIAS].close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(prune, range(4)))
        prune_all(open_store(save_limit=2))

        assert (open_store().count("g"), len(open_store().group("g"))) == (300, 0)
        open_store().delete_group("g")

    def test_two_monitors_can_save_the_same_tasks_at_once(self, open_store: Callable[..., OrmResults]) -> None:
        outcomes = [make_outcome() if n % 2 else make_failure(attempt=2) for n in range(100)]

        def save(order: int) -> None:
            try:
                for _ in range(5):
                    open_store().save(outcomes[::order])
            finally:
                connections[ALIAS].close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(save, (1, -1, 1, -1)))

        assert saved_tasks(ALIAS).count() == 100


class TestRowsInSQLite(RowsContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(tmp_path_factory: pytest.TempPathFactory, use_database: UseDatabase) -> None:
        file: Path = tmp_path_factory.mktemp("results") / "results.sqlite3"
        use_database({"ENGINE": "django.db.backends.sqlite3", "NAME": file})


def end_connections(server: PostgresServer) -> None:
    """As a restart of the server does, or a firewall."""
    with psycopg.connect(host=str(server.folder), user="postgres", dbname="postgres") as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [connections[ALIAS].settings_dict["NAME"]],
        )


class TestRowsInPostgreSQL(RowsContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(postgres_server: PostgresServer, use_database: UseDatabase) -> Iterator[None]:
        name = f"results_{uuid4().hex}"
        postgres_server.create_database(name)
        use_database(postgres_server.database(name))
        yield
        connections[ALIAS].close()
        postgres_server.drop_database(name)

    def test_a_connection_that_has_died_is_replaced(self, store: ResultStore, postgres_server: PostgresServer) -> None:
        store.save([make_outcome()])
        end_connections(postgres_server)
        first, second = make_outcome(), make_outcome()

        store.save([first])
        end_connections(postgres_server)

        assert store.finished([first.id]) == {first.id}
        with store.batch():
            store.save([second])
        assert store.finished([second.id]) == {second.id}


class TestRowsInPostgreSQLWithServerSideBinding(RowsContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(postgres_server: PostgresServer, use_database: UseDatabase) -> Iterator[None]:
        name = f"results_{uuid4().hex}"
        postgres_server.create_database(name)
        use_database({**postgres_server.database(name), "OPTIONS": {"server_side_binding": True}})
        yield
        connections[ALIAS].close()
        postgres_server.drop_database(name)


class TestRowsInMySQL(RowsContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(mysql_server: MySQLServer, use_database: UseDatabase) -> Iterator[None]:
        name = f"results_{uuid4().hex}"
        mysql_server.create_database(name)
        use_database(mysql_server.database(name))
        yield
        connections[ALIAS].close()
        mysql_server.drop_database(name)


class TestRowsInMariaDB(RowsContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def database(mariadb_server: MariaDBServer, use_database: UseDatabase) -> Iterator[None]:
        name = f"results_{uuid4().hex}"
        mariadb_server.create_database(name)
        use_database(mariadb_server.database(name))
        yield
        connections[ALIAS].close()
        mariadb_server.drop_database(name)

    def test_a_result_larger_than_a_packet_is_left_out_with_the_reason(self, store: ResultStore) -> None:
        large, plain = make_outcome(result=b"P" + bytes(10 << 20)), make_outcome(result=b"small")

        store.save([large, plain])

        task = found(store, large.id)
        assert task.success
        assert task.sealed_result is None
        assert "max_allowed_packet" in task.error_message
        assert bytes(found(store, plain.id).sealed_result or b"") == b"small"

    def test_many_large_results_are_saved_in_several_statements(self, store: ResultStore) -> None:
        outcomes = [make_outcome(result=b"x" * (3 << 20)) for _ in range(8)]

        store.save(outcomes)

        assert {len(task.sealed_result or b"") for task in saved_tasks(ALIAS)} == {3 << 20}


class CacheContract(ResultStoreContract):
    @pytest.fixture
    def store(self, cache_settings: dict[str, Any], settings: Any) -> Iterator[CachedResults]:
        settings.CACHES = {"default": cache_settings}
        yield CachedResults(ResultSettings(cached=True))
        caches["default"].clear()


class TestResultsInLocalMemory(CacheContract):
    @pytest.fixture
    def cache_settings(self) -> dict[str, Any]:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid4().hex,
                "OPTIONS": {"MAX_ENTRIES": 10_000}}  # fmt: skip


class TestResultsInRedisCache(CacheContract):
    @pytest.fixture
    def cache_settings(self, redis_server: RedisServer) -> dict[str, Any]:
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_server.url}


@pytest.mark.django_db
class TestResultsByDefault(ResultStoreContract):
    @pytest.fixture
    def store(self) -> ResultStore:
        return open_results(ResultSettings(save_limit=0))


@pytest.mark.django_db
class TestResultsCachedByDefault(ResultStoreContract):
    @pytest.fixture
    def store(self, settings: Any) -> ResultStore:
        location = uuid4().hex
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": location,
                "OPTIONS": {"MAX_ENTRIES": 10_000},
            }
        }
        return open_results(ResultSettings(cached=True))
