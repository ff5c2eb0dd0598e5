"""A scheduler is killed at each point of its work: every due time is sent once, if not by it then by another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections

from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.core.codec import Codec, peek_header
from django_cluster.core.settings import BrokerSettings, SigningSettings
from django_cluster.lifecycle.send import TaskRouter
from django_cluster.models.schedule import Schedule
from django_cluster.schedules.creation import build_schedule
from django_cluster.schedules.dispatcher import CLAIM_DURATION
from tests.integration.test_scheduler import ALIAS, NOW, database, make_scheduler
from tests.sample import tasks
from tests.servers import RedisServer

__all__ = ["database"]  # a fixture

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("dying_scheduler.py")
ROWS = 30
ELSEWHERE = [
    "before the claim is kept",
    "before it is sent",
    "after it was sent",
    "before the next run is kept",
    "after the next run was kept",
]
TOGETHER = ["before it is sent", "after it was sent", "before the next run is kept"]


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[BrokerSettings]:
    section = BrokerSettings(
        kind="redis", options={"url": redis_server.url}, name=f"tests-{uuid4().hex}", queue="tests"
    )
    yield section
    broker = open_broker(section)
    broker.purge()
    broker.close()


def make_due() -> None:
    for number in range(ROWS):
        build_schedule(tasks.echo, number, schedule_type="H", next_run=NOW - timedelta(seconds=number))


def die_at(point: str, broker: BrokerSettings) -> None:
    """Run a scheduler of its own process up to this point."""
    entry = {
        name: connections.databases[ALIAS][name] for name in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
    }
    section = {**asdict(broker), "options": {"alias": "default"} if broker.kind == "orm" else broker.options}
    connections[ALIAS].close()
    arguments = [json.dumps(entry, default=str), json.dumps(section), NOW.isoformat(), point, settings.SECRET_KEY]

    done = subprocess.run([sys.executable, PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == -SIGKILL, done.stderr


def tick_twice(broker: Broker, after: timedelta) -> None:
    """Two clusters that live look at the schedules."""
    router = TaskRouter(Codec(SigningSettings(secret="a secret for tests")), broker)
    for _ in range(2):
        make_scheduler(router.send_once, NOW + after, sent=router.forget, broker_database=broker.database).tick()


def ids_in(broker: Broker) -> list[str]:
    return [peek_header(each.payload).id for each in broker.peek(10 * ROWS)]


def check_that_all_have_stepped_on() -> None:
    assert not Schedule.objects.filter(next_run__lte=NOW + CLAIM_DURATION).exists()
    assert not Schedule.objects.filter(claimed_until__isnull=False).exists()
    assert set(Schedule.objects.values_list("runs", flat=True)) == {1}


@pytest.mark.parametrize("point", ELSEWHERE)
def test_a_scheduler_killed_on_its_way_to_redis_sends_each_run_once(
    point: str, database: str, redis: BrokerSettings
) -> None:
    make_due()
    die_at(point, redis)
    broker = open_broker(redis)

    tick_twice(broker, timedelta(seconds=1))
    tick_twice(broker, CLAIM_DURATION)

    ids = ids_in(broker)
    assert len(ids) == len(set(ids)) == ROWS
    check_that_all_have_stepped_on()
    broker.close()


@pytest.mark.parametrize("point", ["after it was sent", "before the next run is kept", "after the next run was kept"])
def test_runs_that_have_ended_before_their_scheduler_is_followed_by_another_are_not_repeated(
    point: str, database: str, redis: BrokerSettings
) -> None:
    make_due()
    die_at(point, redis)
    broker = open_broker(redis)
    lent = broker.lease(10 * ROWS)
    assert len(lent) == ROWS
    broker.acknowledge([delivery.receipt for delivery in lent])

    tick_twice(broker, CLAIM_DURATION)

    assert broker.size().total == 0
    check_that_all_have_stepped_on()
    broker.close()


@pytest.mark.parametrize("point", TOGETHER)
def test_a_scheduler_killed_in_its_transaction_has_done_nothing(point: str, database: str) -> None:
    section = BrokerSettings(kind="orm", options={"alias": ALIAS}, queue="tests")
    make_due()
    die_at(point, section)
    broker = open_broker(section)
    assert broker.size().total == 0

    tick_twice(broker, timedelta(seconds=1))

    ids = ids_in(broker)
    assert len(ids) == len(set(ids)) == ROWS
    check_that_all_have_stepped_on()


def test_a_name_that_was_forgotten_is_taken_again(redis: BrokerSettings) -> None:
    from django_cluster.brokers.messages import Message

    broker = open_broker(redis)
    some: list[Any] = [Message("one"), Message("two", priority=5), Message("three", not_before=NOW.timestamp() * 2)]

    for _ in range(2):
        broker.enqueue_unique(some, ["1", "2", "3"])
    assert sorted(each.payload for each in broker.peek()) == ["one", "three", "two"]
    assert (broker.size().ready, broker.size().delayed) == (2, 1)
    broker.release_unique(["1"])
    broker.enqueue_unique(some, ["1", "2", "3"])

    assert sorted(each.payload for each in broker.peek()) == ["one", "one", "three", "two"]
    broker.close()
