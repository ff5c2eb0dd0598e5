"""A database whose disk is full, as SQLite tells it: nothing is lost, and it goes on when there is room again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from django_cluster.brokers import open_broker
from django_cluster.brokers.messages import Message
from django_cluster.core.settings import BrokerSettings, ResultSettings
from django_cluster.errors import BrokerUnavailable, StoreUnavailable
from django_cluster.models import Task
from django_cluster.stores import open_results
from django_cluster.testing.outcomes import make_outcome

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = "x" * 200_000


@contextmanager
def full_disk() -> Iterator[None]:
    """No further page for the file of the database."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # or earlier tests have left room in the file
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA max_page_count = 1073741823")


@pytest.fixture(autouse=True)
def _only_on_sqlite() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite can be told that its disk is full")


def test_an_outcome_is_saved_when_there_is_room_again() -> None:
    results = open_results(ResultSettings(save_limit=0))
    outcome = make_outcome(result=b"J" + LARGE.encode())

    with full_disk(), pytest.raises(StoreUnavailable, match="full"):
        results.save([outcome])
    assert not Task.objects.exists()
    results.save([outcome])

    assert Task.objects.get().success


def test_a_task_that_cannot_be_kept_is_refused_at_once_and_leaves_nothing() -> None:
    broker = open_broker(BrokerSettings(kind="orm", options={"alias": "default"}))

    with full_disk(), pytest.raises(BrokerUnavailable, match="full"):
        broker.enqueue([Message(LARGE)])
    assert broker.size().total == 0
    broker.enqueue([Message(LARGE)])

    assert broker.size().ready == 1
