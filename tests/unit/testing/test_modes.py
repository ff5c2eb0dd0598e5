"""What each mode makes of the settings of a project."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings

from django_cluster import queue_size
from django_cluster.client.client import get_client
from django_cluster.core.settings.parser import ParseContext, try_parse
from django_cluster.tasks import async_task, result
from django_cluster.testing import TaskMode, assert_not_enqueued, enqueued, run_pending, task_mode
from django_cluster.testing.modes import settings_for
from tests.sample import tasks

pytestmark = pytest.mark.django_db

PROJECT: dict[str, Any] = {
    "name": "shop",
    "redis": "redis://localhost:1",
    "workers": 8,
    "sync": True,
    "brokers": {"other": {"redis": "redis://localhost:2"}},
    "ALT_CLUSTERS": {"mail": {"sqs": {"aws_region": "us-east-1"}, "timeout": 5}, "slow": {"broker": "other"}},
}


def read(mode: TaskMode, cluster: str | None = None) -> Any:
    found = try_parse(settings_for(mode, PROJECT), _context(cluster))
    assert found.settings is not None, found.problems
    return found.settings


def _context(cluster: str | None) -> ParseContext:
    return ParseContext(secret="s", fallbacks=(), time_zone="UTC", cluster=cluster, environment={})


def test_kept_needs_no_server_whatever_the_project_uses() -> None:
    for cluster in (None, "mail", "slow"):
        settings = read(TaskMode.KEPT, cluster)
        assert (settings.broker.kind, settings.sync) == ("memory", False)
        assert [each.kind for each in settings.brokers.values()] == ["memory"]
    assert read(TaskMode.KEPT, "mail").processes.timeout == 5


def test_queued_is_the_broker_of_the_project() -> None:
    assert [read(TaskMode.QUEUED, each).broker.kind for each in (None, "mail")] == ["redis", "sqs"]
    assert not read(TaskMode.QUEUED).sync


def test_inline_runs_at_the_call() -> None:
    assert all(read(TaskMode.INLINE, each).sync for each in (None, "mail"))
    with override_settings(Q_CLUSTER=PROJECT), task_mode("inline"):  # its servers are not there
        assert result(async_task(tasks.add, 1, 2)) == 3
        assert_not_enqueued()


def test_a_cluster_is_forked_small_and_without_a_scheduler() -> None:
    settings = read(TaskMode.CLUSTER)

    assert (settings.processes.start_method, settings.processes.workers) == ("fork", 2)
    assert not settings.schedule.enabled
    assert settings.broker.kind == "redis"


def test_tasks_of_another_test_are_gone() -> None:
    for mode in ("kept", "queued"):
        for _ in range(2):
            with task_mode(mode):
                assert enqueued() == []
                async_task(tasks.nothing, q_options={"on_commit": False})
                assert queue_size() == 1


def test_an_alias_of_brokers_is_understood_in_memory() -> None:
    with override_settings(Q_CLUSTER=PROJECT), task_mode("kept"):
        sent = [async_task(tasks.add, 1, 2, broker="other"), async_task(tasks.add, 1, 2, q_options={"queue": "mail"})]
        assert {each.id for each in enqueued()} == set(sent)
        assert set(run_pending()) == set(sent)


def test_a_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="eager"), task_mode("eager"):
        pass


def test_a_cluster_is_refused_where_it_would_see_nothing() -> None:
    with pytest.raises(ImproperlyConfigured, match="TransactionTestCase"), task_mode("cluster"):
        pass


@pytest.mark.django_db(transaction=True)
def test_a_cluster_is_refused_with_a_queue_that_it_cannot_see(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory"}

    with pytest.raises(ImproperlyConfigured, match="in this process only"), task_mode("cluster"):
        pass
    assert get_client().settings.broker.kind == "memory"


@pytest.mark.django_db(transaction=True)
def test_a_cluster_is_refused_with_a_database_that_it_cannot_see(monkeypatch: pytest.MonkeyPatch) -> None:
    connection: Any = connections["default"]
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite has databases in memory")
    monkeypatch.setattr(connection, "is_in_memory_db", lambda: True)

    with pytest.raises(ImproperlyConfigured, match="'default' is in the memory of this process"), task_mode("cluster"):
        pass
