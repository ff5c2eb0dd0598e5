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
from django_cluster.lifecycle.probing import missing_before_start, probe
from tests.servers import RedisServer
from tests.servers.base import free_port


def asked(**q_cluster: Any) -> list[tuple[str, str]]:
    with override_settings(Q_CLUSTER={"name": "tests", **q_cluster}):
        return [(str(each.id).removeprefix("django_cluster."), each.msg) for each in check_servers()]


@contextmanager
def another_database(alias: str, name: Path) -> Iterator[None]:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(name)}
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
        assert missing_before_start(parse({"orm": "default"}, secret="s")) == ""


@pytest.mark.django_db
def test_a_library_that_is_not_installed_is_told_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rabbitmq", "rabbitmq_connection", "rabbitmq_unacked"):
        monkeypatch.delitem(sys.modules, f"django_cluster.brokers.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "amqp", None)

    found = dict(asked(rabbitmq="amqp://localhost"))

    assert "needs the library amqp: pip install 'django-cluster[rabbitmq]'" in found["W015"]
