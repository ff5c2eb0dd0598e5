"""The router that projects may name: our tables where ``Q_CLUSTER`` wants them, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from django_cluster import conf
from django_cluster.checks.settings import validate_config
from django_cluster.models import AcknowledgedMessages, QueuedTask, Schedule, Task
from django_cluster.routers import ClusterRouter

ROUTER = ClusterRouter()


@pytest.mark.parametrize(
    ("q_cluster", "queue", "results"),
    [
        ({"orm": "queue"}, "queue", "queue"),
        ({"orm": "queue", "results_db": "results"}, "queue", "results"),
        ({"redis": {}, "results_db": "results"}, None, "results"),
        ({"redis": {}}, None, None),
        ({}, "default", "default"),
        ({"broker_class": "shop.brokers.Ours", "orm": "queue"}, "queue", "queue"),
        ({"brokers": {"default": {"orm": "queue"}}}, "queue", "queue"),
    ],
)
def test_the_queue_goes_to_orm_and_the_rest_to_results_db_or_beside_it(
    q_cluster: Any, queue: str | None, results: str | None
) -> None:
    with override_settings(Q_CLUSTER=q_cluster):
        assert {ROUTER.db_for_write(model) for model in (QueuedTask, AcknowledgedMessages)} == {queue}
        assert {ROUTER.db_for_read(model) for model in (Task, Schedule)} == {results}
        assert ROUTER.db_for_write(User) is None


def test_tables_are_made_where_they_are_needed_and_those_of_other_apps_are_not_its_business() -> None:
    brokers = {"audit": {"orm": "audit"}, "fast": {"redis": {}}}
    with override_settings(Q_CLUSTER={"orm": "queue", "results_db": "results", "brokers": brokers}):
        made = {
            alias for alias in ("default", "queue", "results", "audit") if ROUTER.allow_migrate(alias, "django_cluster")
        }
        assert ROUTER.allow_migrate("queue", "auth") is None

    assert made == {"queue", "results", "audit"}


def test_a_row_goes_back_to_the_database_that_it_came_from() -> None:
    row = QueuedTask()
    row._state.db = "audit"
    with override_settings(Q_CLUSTER={"orm": "queue"}):
        assert ROUTER.db_for_write(QueuedTask, instance=row) == "audit"
        assert ROUTER.db_for_write(QueuedTask, instance=QueuedTask()) == "queue"


def test_settings_that_cannot_be_used_are_for_the_checks_to_tell() -> None:
    with override_settings(Q_CLUSTER={"orm": "queue", "wrokers": 1}):
        assert ROUTER.db_for_write(Task) is None
        assert ROUTER.allow_migrate("queue", "django_cluster") is None


class Stubborn:
    """Keeps everything in one database."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        return db == "default"


@pytest.mark.parametrize(("routers", "ids"), [([Stubborn], ["django_cluster.W017"]), ([ClusterRouter, Stubborn], [])])
def test_a_router_that_refuses_the_tables_of_the_queue_is_told(
    routers: list[type], ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"ENGINE": "django.db.backends.postgresql", "NAME": "queue"}
    monkeypatch.setattr(conf, "databases", lambda: {"default": entry, "queue": entry})
    monkeypatch.setattr("django_cluster.checks.django_q.knows_django_q", lambda: False)
    names = [f"{each.__module__}.{each.__qualname__}" for each in routers]

    with override_settings(Q_CLUSTER={"orm": "queue"}, DATABASE_ROUTERS=names):
        assert [message.id for message in validate_config()] == ids
