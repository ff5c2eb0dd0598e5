"""Looking costs a number of queries that is known, whatever there is to see, and never raises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_cluster.brokers.base import Broker
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Message
from django_cluster.brokers.orm import OrmBroker
from django_cluster.core.codec import Codec
from django_cluster.dashboard.collector import PARTS, Collector
from django_cluster.dashboard.panels import failures
from django_cluster.dashboard.panels.queues import state_of
from django_cluster.dashboard.stats import stats_of
from django_cluster.dashboard.tables import chosen
from django_cluster.errors import BrokerUnavailable
from django_cluster.models import Heartbeat, Schedule, Task
from django_cluster.stores.operator_commands import OperatorCommandStore
from django_cluster.stores.status import StatusStore
from tests.conftest import make_settings
from tests.fields import fields
from tests.integration.cluster_harness import package
from tests.sealed import sealed_result
from tests.unit.stores.test_status import STATUS

SETTINGS = make_settings()
CODEC = Codec(SETTINGS.signing)
MOST_QUERIES = {
    "clusters": 2, "queues": 1, "waiting": 0, "ended": 1, "failures": 1, "schedules": 1, "totals": 4,
}  # fmt: skip
"""For each part; those of the broker come from the memory broker here."""


def make_eye(open_broker: Callable[[str], Broker] | None = None) -> Collector:
    broker = MemoryBroker(SETTINGS.broker)
    return Collector(
        label="shop",
        queues=("tests",),
        open_broker=open_broker or (lambda _: broker),
        read_label=lambda queue, payload: CODEC.split(CODEC.for_queue(queue).verify(payload))[0],
    )


def make_task(number: int, **fields: Any) -> Task:
    now = timezone.now() - timedelta(seconds=number)
    given = {"name": f"task {number}", "func": "shop.add", "status": "success", "success": True, **fields}
    moments = {"enqueued_at": now - timedelta(seconds=3), "started_at": now - timedelta(seconds=2), "stopped_at": now}
    return Task.objects.create(id=f"{number:032x}", **given, **moments)


@pytest.mark.django_db
@pytest.mark.parametrize("part", PARTS)
def test_each_part_costs_as_many_queries_as_promised_however_much_there_is(part: str) -> None:
    for number in range(30):
        make_task(number, success=number % 2 == 0)
        Schedule.objects.create(func="shop.add", name=str(number))
        StatusStore().publish(STATUS)
    collector = make_eye()

    with CaptureQueriesContext(connection) as queries:
        collector.collect([part])

    assert len(queries) == MOST_QUERIES[part]


@pytest.mark.django_db
def test_a_look_shows_what_waits_without_opening_its_arguments() -> None:
    collector = make_eye()
    broker = collector.open_broker("tests")
    broker.enqueue([Message(CODEC.dumps(package(7, group="orders"))), Message("garbage")])

    first, second = collector.collect(["queues", "waiting"]).waiting

    assert fields(first, "name", "func", "group", "state") == {
        "name": "task 7",
        "func": "tests.sample.tasks.echo",
        "group": "orders",
        "state": "ready",
    }
    assert first.key
    assert second.name == "(cannot be read)"
    assert second.error


@pytest.mark.django_db
def test_a_broker_that_is_away_is_told_and_hides_nothing_else() -> None:
    def away(_: str) -> Broker:
        raise BrokerUnavailable("Redis is away.")

    make_task(1)

    seen = make_eye(away).collect(["clusters", "queues", "waiting", "ended"])

    assert seen.problems == ("Redis is away.",)
    assert [queue.problem for queue in seen.queues] == ["Redis is away."]
    assert len(seen.ended) == 1


@pytest.mark.django_db
def test_a_broker_whose_library_is_missing_is_told_and_hides_nothing_else() -> None:
    make_task(1)

    def no_library(_: str) -> Broker:
        raise ImproperlyConfigured("pip install it")

    seen = make_eye(no_library).collect(PARTS)

    assert seen.problems == ("pip install it",)
    assert len(seen.ended) == 1


@pytest.mark.django_db
def test_parts_that_are_not_looked_at_stay_as_they_were() -> None:
    make_task(1)
    collector = make_eye()
    before = collector.collect(["ended"])
    Task.objects.all().delete()

    assert len(collector.collect(["clusters"], before).ended) == 1
    assert collector.collect(["ended"], before).ended == ()


@pytest.mark.django_db
def test_the_detail_of_a_task_survives_arguments_that_cannot_be_read() -> None:
    task = make_task(
        1, success=False, status="failure", sealed_arguments=b"rubbish", error_kind="ValueError", error_message="no",
        error_traceback="Traceback", attempts=[{"number": 1, "status": "lost", "kind": "signal", "message": "9"}],
    )  # fmt: skip

    detail = make_eye().detail(task.id)

    assert detail is not None
    facts = dict(detail.facts)
    assert facts["Arguments"].startswith("(cannot be read")
    assert facts["Error"] == "ValueError: no"
    assert detail.attempts == ("run 1: lost signal: 9",)
    assert make_eye().detail("nobody") is None


@pytest.mark.django_db
def test_the_detail_of_a_success_shows_its_result_and_that_of_our_own_errors_a_short_name() -> None:
    kind = "django_cluster.errors.UnknownFunction"
    success = make_task(1)
    success.sealed_result = sealed_result({"words": 6}, success.pk)
    success.save()
    rejected = make_task(2, success=False, status="rejected", error_kind=kind, error_message="no such function")

    shown, refused = make_eye().detail(success.id), make_eye().detail(rejected.id)

    assert shown is not None
    assert refused is not None
    assert dict(shown.facts)["Result"] == "{'words': 6}"
    assert dict(refused.facts)["Error"] == "UnknownFunction: no such function"
    assert "Result" not in dict(refused.facts)


@pytest.mark.django_db
def test_the_figures_count_the_last_day_only() -> None:
    for number in range(4):
        make_task(number)
    make_task(5, success=False, status="failure")
    make_task(2 * 86400)
    collector = make_eye()

    figures = stats_of(collector.collect(["clusters", "queues", "totals"]), "default")

    assert fields(figures, "successes", "failures", "tasks_per_day") == {
        "successes": 5,
        "failures": 1,
        "tasks_per_day": 5,
    }
    assert figures.average_time == pytest.approx(3)
    assert figures.average_run == pytest.approx(2)
    assert figures.tasks_per_hour == pytest.approx(5 / 24)


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["status:timeout", "stat:time*t", "old shop.a*", "error:deadline", "group:primes"])
def test_a_filter_finds_rows_behind_hundreds_of_newer_ones(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_cluster.dashboard.collector.MAX_ROWS", 5)
    make_task(99, name="old", status="timeout", success=False, group="primes", error_message="deadline")
    for number in range(10):
        make_task(number, status="failure", success=False)
    collector = make_eye()

    unfiltered = collector.collect(["failures"])
    filtered = collector.collect(["failures"], None, query)

    assert "old" not in {task.name for task in unfiltered.failures}
    rows = chosen(failures.table(filtered), query, None, descending=False)
    assert [row.more["name"] for row in rows] == ["old"]


@pytest.mark.django_db
def test_queues_are_seen_that_no_cluster_works_on() -> None:
    Schedule.objects.create(func="shop.add", queue="scheduled")
    OperatorCommandStore().pause("paused")
    StatusStore().publish(replace(STATUS, queues=("of a lost cluster",)))
    Heartbeat.objects.update(heartbeat_at=0)
    orm = replace(SETTINGS.broker, kind="orm")
    brokers = {name: OrmBroker(replace(orm, queue=name)) for name in ("tests", "solw", "delayed:x:y")}
    for full in brokers.values():
        full.enqueue([Message("x")])
    collector = make_eye(lambda name: brokers.get(name) or OrmBroker(replace(orm, queue=name)))

    seen = collector.collect(["clusters", "queues"])

    assert [queue.name for queue in seen.queues] == ["tests", "of a lost cluster", "paused", "scheduled", "solw"]
    states = {queue.name: state_of(seen, queue) for queue in seen.queues}
    assert states["solw"][:2] == ("no cluster", "bad")
    assert states["scheduled"][:2] == ("no cluster", "dim")
    assert {queue["clusters"] for queue in seen.as_json()["queues"]} == {0}
