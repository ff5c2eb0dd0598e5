"""``manage.py check --deploy`` asks the servers, and a cluster does not start where its tables are missing."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from django_cluster.checks.deployment import check_servers
from django_cluster.core.settings.parser import parse
from django_cluster.lifecycle.probing import obstacle_to_start, probe
from tests.servers import MariaDBServer, PostgresServer, RedisServer
from tests.servers.base import free_port


def asked(**q_cluster: Any) -> list[tuple[str, str]]:
    with override_settings(Q_CLUSTER={"name": "tests", **q_cluster}):
        return [(str(each.id).removeprefix("django_cluster."), each.msg) for each in check_servers()]


@contextmanager
def another_database(alias: str, name: Path) -> Iterator[None]:
    with database_of(alias, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(name)}):
        yield


@contextmanager
def database_of(alias: str, entry: dict[str, Any]) -> Iterator[None]:
    connections.databases[alias] = connections.configure_settings({"default": {}, alias: entry})[alias]
    try:
        yield
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


@pytest.mark.django_db
def test_a_redis_that_is_away_is_told_and_the_database_that_is_there_too() -> None:
    begun = time.monotonic()

    found = asked(redis={"host": "127.0.0.1", "port": free_port()})

    assert time.monotonic() - begun < 30
    assert sorted(id for id, _ in found) == ["I002", "W015"]
    assert any("The broker (redis) cannot be used: Redis at 127.0.0.1:" in sentence for _, sentence in found)
    assert any("The database 'default' answers and has the tables." in sentence for _, sentence in found)


@pytest.mark.django_db
def test_a_redis_that_is_there_is_told(redis_server: RedisServer) -> None:
    found = asked(redis=redis_server.url)

    answers = [sentence for id, sentence in found if id == "I002"]
    assert any("answers: Redis" in each for each in answers)
    assert not [each for each in found if each[0] in ("W015", "W016")]


@pytest.mark.server("redis")
@pytest.mark.django_db
def test_a_server_that_hangs_is_waited_for_no_longer_than_allowed() -> None:
    server = RedisServer().start()
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        settings = parse({"redis": {"port": server.port, "socket_timeout": None}}, secret="s")
        begun = time.monotonic()

        found = probe(settings, seconds=1.5)

        assert time.monotonic() - begun < 20
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.stop()
    (said,) = [each.sentence for each in found if each.id == "W015"]
    assert said == "The broker (redis) has not answered within 1.5 seconds."


@pytest.mark.django_db
def test_a_database_without_tables_is_told_with_what_makes_them(tmp_path: Path) -> None:
    file = tmp_path / "queue.sqlite3"
    with another_database("queue", file):
        found = dict(asked(orm="queue"))
        assert not file.exists()  # asking makes no file

    assert "The database 'queue' lacks the tables django_cluster_queuedtask" in found["W016"]
    assert found["I002"].startswith("Q_CLUSTER: The database 'default' answers")


@pytest.mark.django_db
def test_a_migration_that_was_not_applied_is_told() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET name = '0000_other' WHERE app = 'django_cluster'")

    found = dict(asked(orm="default"))

    assert "not applied to the database 'default': 0001_initial" in found["W016"]


@pytest.mark.django_db
def test_a_cluster_does_not_start_where_its_tables_are_missing(tmp_path: Path) -> None:
    with another_database("queue", tmp_path / "queue.sqlite3"), override_settings(Q_CLUSTER={"orm": "queue"}):
        with pytest.raises(CommandError, match=r"lacks the tables .* Run 'manage.py migrate --database queue'"):
            call_command("qcluster")
        assert obstacle_to_start(parse({"orm": "default"}, secret="s")) == ""


@pytest.mark.server("redis")
@pytest.mark.django_db
def test_a_cluster_does_not_start_where_a_broker_does_not_let_it_in() -> None:
    server = RedisServer().start()
    server.says("config", "set", "requirepass", "right")
    try:
        with (
            override_settings(Q_CLUSTER={"name": "tests", "redis": {"port": server.port, "password": "wrong"}}),
            pytest.raises(CommandError, match=r"The broker \(redis\) cannot be used: .* does not let us in"),
        ):
            call_command("qcluster")
        assert obstacle_to_start(parse({"redis": {"port": server.port, "password": "right"}}, secret="s")) == ""
    finally:
        server.stop()


@pytest.mark.django_db
def test_a_cluster_starts_where_a_broker_does_not_answer_yet() -> None:
    assert obstacle_to_start(parse({"redis": {"port": free_port()}}, secret="s")) == ""


@pytest.mark.usefixtures("django_db_setup")
def test_a_cluster_does_not_start_where_postgresql_has_no_such_database_or_role(
    postgres_server: PostgresServer,
    django_db_blocker: Any,
) -> None:
    entry = postgres_server.database()
    with django_db_blocker.unblock():
        for wrong, words in (
            ({"NAME": "nowhere"}, 'database "nowhere" does not'),
            ({"USER": "nobody"}, 'role "nobody"'),
        ):
            with database_of("queue", {**entry, **wrong}):
                assert words in obstacle_to_start(parse({"orm": "queue"}, secret="s"))
        with database_of("queue", {**entry, "HOST": "127.0.0.1", "PORT": free_port()}):
            assert obstacle_to_start(parse({"orm": "queue"}, secret="s")) == ""


@pytest.mark.usefixtures("django_db_setup")
def test_a_cluster_does_not_start_where_mariadb_has_no_such_database_or_user(
    mariadb_server: MariaDBServer, django_db_blocker: Any
) -> None:
    entry = mariadb_server.database()
    with django_db_blocker.unblock():
        for wrong, words in (({"NAME": "nowhere"}, "nowhere"), ({"USER": "nobody", "PASSWORD": "wrong"}, "nobody")):
            with database_of("queue", {**entry, **wrong}):
                found = obstacle_to_start(parse({"orm": "queue"}, secret="s"))
            assert found.startswith("The database 'queue' cannot be used:")
            assert words in found


@pytest.mark.django_db
def test_a_library_that_is_not_installed_is_told_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rabbitmq", "rabbitmq_connection", "rabbitmq_unacked"):
        monkeypatch.delitem(sys.modules, f"django_cluster.brokers.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "amqp", None)

    found = dict(asked(rabbitmq="amqp://localhost"))

    assert "needs the library amqp: pip install 'django-cluster[rabbitmq]'" in found["W015"]
