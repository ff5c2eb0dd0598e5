"""The overview and the page of a function: what they show, to whom, and at what cost."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_cluster.admin.queue_reader import PEEKED
from django_cluster.brokers.messages import QueuedMessage, QueueSize
from django_cluster.brokers.orm import OrmBroker
from django_cluster.core.messages import Outcome
from django_cluster.core.settings import ResultSettings
from django_cluster.models import Rollup, Schedule
from django_cluster.stores import history_reader
from django_cluster.stores.orm import OrmResults
from django_cluster.testing.outcomes import make_failure, make_outcome
from tests.integration.admin_client import page, person, queue_one
from tests.integration.test_admin_clusters import publish

pytestmark = pytest.mark.django_db

OVERVIEW, FUNCTION = "rollup_changelist", "rollup_function"


def record(*outcomes: Outcome, cluster: str = "a") -> None:
    OrmResults(ResultSettings(save_limit=0), history_of=cluster).save(outcomes)


def run(func: str = "shop.tasks.pay", wait: float = 1.0, took: float = 2.0, **changes: Any) -> dict[str, Any]:
    now = time.time()
    return {"func": func, "queue": "mail", "stopped_at": now, "started_at": now - took, **changes} | {
        "enqueued_at": now - took - wait
    }


def test_an_empty_project_is_told_what_to_start(admin_client: Client) -> None:
    text = page(admin_client, OVERVIEW)

    assert "No cluster is running." in text


def test_numbers_of_the_window_link_to_the_lists_behind_them(admin_client: Client) -> None:
    publish()
    record(*[make_outcome(number=n, **run()) for n in range(1, 31)], make_failure(number=31, **run()))

    text = page(admin_client, OVERVIEW)

    success, failure = (reverse(f"admin:django_cluster_{name}_changelist") for name in ("success", "failure"))
    assert re.search(rf'<a href="{success}"><strong>30</strong>succeeded</a>', text)
    assert re.search(rf'<a href="{failure}"><strong class="dc-bad-text">1</strong>failed</a>', text)
    assert f'<a href="{failure}?func=shop.tasks.pay&error_kind=ValueError">1</a>' in text
    assert "no good" in text
    assert "30 succeeded, 1 failed" in text
    assert "A task of tests.sample.tasks.add has nearly reached its time limit." in text


@pytest.mark.parametrize("window", ["1h", "24h", "14d", "nonsense"])
def test_each_window_counts_everything_that_is_not_older(window: str, admin_client: Client) -> None:
    record(make_outcome(number=1, **run()))

    assert "<strong>1</strong>succeeded" in page(admin_client, OVERVIEW, window=window)


def test_the_percentiles_of_two_clusters_are_those_of_all_runs(admin_client: Client) -> None:
    for cluster, took in (("a", 1.0), ("b", 10.0)):
        record(*[make_outcome(number=n, **run(took=took)) for n in range(1, 11)], cluster=cluster)

    text = page(admin_client, FUNCTION, func="shop.tasks.pay")

    p50, p95 = (float(re.search(rf"<strong>([\d.]+) s</strong>run time {name}", text)[1]) for name in ("p50", "p95"))  # type: ignore[index]
    assert p50 == pytest.approx(1.0, rel=0.09)
    assert p95 == pytest.approx(10.0, rel=0.09)


def test_a_function_is_named_once_however_many_of_its_tasks_are_near_their_limit(admin_client: Client) -> None:
    publish()
    publish(2)

    text = page(admin_client, OVERVIEW)

    assert text.count("A task of tests.sample.tasks.add has nearly reached its time limit.") == 1


def test_what_waits_without_a_cluster_is_a_sentence_with_a_link(admin_client: Client) -> None:
    publish()
    queue_one(queue="tests")

    text = page(admin_client, OVERVIEW)

    assert re.search(
        r'<a href="[^"]*queuedtask/\?queue=tests">No cluster works on the queue tests; waiting: 1, the oldest for', text
    )


def test_a_page_reads_a_bounded_number_of_messages_however_many_are_leased(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def peek(broker: OrmBroker, limit: int) -> list[QueuedMessage]:
        read.append(limit)
        return []

    monkeypatch.setattr(OrmBroker, "size", lambda broker: QueueSize(ready=1, delayed=0, leased=1_000_000))
    monkeypatch.setattr(OrmBroker, "peek", peek)

    page(admin_client, OVERVIEW)

    assert read
    assert max(read) <= PEEKED


def test_the_page_of_a_function_shows_its_schedules_and_what_runs(admin_client: Client) -> None:
    publish()
    Schedule.objects.create(name="each night", func="tests.sample.tasks.add", schedule_type="D")
    Schedule.objects.create(name="another", func="tests.sample.tasks.sub", schedule_type="D")

    text = page(admin_client, FUNCTION, func="tests.sample.tasks.add")

    assert "each night" in text
    assert "another" not in text
    assert "50 s of 1 min 00 s" in text


def test_who_may_not_see_a_list_sees_nothing_of_it(client: Client) -> None:
    publish()
    Schedule.objects.create(name="each night", func="tests.sample.tasks.add", schedule_type="D")
    record(make_failure(number=1, **run()))
    person(client, "view_rollup")

    text = page(client, OVERVIEW)

    for hidden in (
        "ValueError",
        "no good",
        "each night",
        "red-green",
        "nearly reached",
        "/failure/",
        "/queuedtask/",
        "/heartbeat/",
    ):
        assert hidden not in text, hidden


def test_the_text_of_an_error_needs_the_permission_to_see_arguments(client: Client) -> None:
    record(make_failure(number=1, **run()))
    person(client, "view_rollup", "view_failure")

    text = page(client, OVERVIEW)

    assert "ValueError" in text
    assert "no good" not in text


def test_without_permission_there_is_no_page(client: Client) -> None:
    person(client, "view_failure")

    for name in (OVERVIEW, FUNCTION):
        assert client.get(reverse(f"admin:django_cluster_{name}")).status_code == 403


def test_the_pages_ask_few_questions_however_much_there_is(admin_client: Client) -> None:
    def questions(name: str, **query: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, name, **query)
        return len(captured)

    publish(queues=("tests",))
    record(make_outcome(number=1, **run()))
    few = questions(OVERVIEW), questions(FUNCTION, func="shop.tasks.pay")
    for number in range(2, 9):
        publish(number, queues=("tests",))
    record(*[make_failure(number=n, **run(f"f{n}")) for n in range(2, 40)])
    Schedule.objects.bulk_create([Schedule(name=f"s{n}", func="a.b", schedule_type="D") for n in range(30)])

    assert (questions(OVERVIEW), questions(FUNCTION, func="shop.tasks.pay")) == few
    assert max(few) <= 12


def test_the_page_says_that_nothing_is_counted(admin_client: Client, settings: Any) -> None:
    with override_settings(Q_CLUSTER={**settings.Q_CLUSTER, "history": False}):
        assert "History is off" in page(admin_client, OVERVIEW)


def test_the_page_says_when_it_reads_only_a_part_of_the_history(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(*[make_outcome(number=n, **run(f"f{n}")) for n in range(1, 4)])
    assert "only the newest" not in page(admin_client, OVERVIEW)

    monkeypatch.setattr(history_reader, "MAX_ROWS", 2)
    assert "only the newest 2 rows" in page(admin_client, OVERVIEW)


def test_a_page_needs_no_inline_style_or_script(admin_client: Client) -> None:
    record(*[make_failure(number=n, **run(f"f{n}")) for n in range(1, 20)])

    text = page(admin_client, OVERVIEW)
    inside = text[text.index('id="dc-live"') :]

    assert Rollup.objects.exists()
    assert "<rect" in inside
    assert not re.search(r"style=|<style|<script|onclick", inside)
    assert len(text) < 100_000
