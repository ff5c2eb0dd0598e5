"""The documents on ReArq (000 and 001): tasks, queues, retries, schedules, results."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db.models import Avg, Count, F, Q
from django.utils import timezone
from freezegun import freeze_time

from django_cluster import cron_task, fetch
from django_cluster.conf import load_cluster, load_settings
from django_cluster.errors import TaskFailed
from django_cluster.models import Failure, Schedule, Task
from django_cluster.schedules import declarations
from django_cluster.task_objects import TaskFunction
from django_cluster.testing import enqueued, fail_at, run_pending, run_schedules, time_out_at
from tests.datetimes import utc
from tests.seeds import rearq_tasks as tasks
from tests.seeds.rearq_tasks import PermanentError, TemporaryError, process_data, send_email

pytestmark = pytest.mark.django_db
EXPRESSIONS = {
    "* * * * *": timedelta(minutes=2),
    "*/5 * * * *": timedelta(minutes=10),
    "0 * * * *": timedelta(hours=2),
    "0 0 * * *": timedelta(days=2),
    "0 9 * * 1": timedelta(days=14),
    "0 0 1 * *": timedelta(days=62),
}
"""Cron expression → a time in which it is due twice, from a Tuesday on."""
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    """000, "All Fields": ``RearqConfig`` in our words; ``redis_url`` is ``"redis": …`` in production."""
    settings.Q_CLUSTER = {
        **{"name": "default", "workers": 10, "timeout": 300, "max_attempts": 4, "retry_delay": 60, "retention_days": 7},
        "ALT_CLUSTERS": {name: {} for name in ("emails", "reports", "critical", "high", "low")},
    }
    tasks.calls.clear()


@pytest.fixture
def declared_here() -> Iterator[None]:
    """Schedules that are declared in a test are not those of another."""
    before = dict(declarations._declarations)
    declarations._declarations.clear()
    yield
    declarations._declarations.clear()
    declarations._declarations.update(before)


# ── calling tasks ────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_sent_and_its_result_awaited() -> None:
    job = send_email.delay(to="ada@example.com", subject="Welcome!", body="Thanks for registering")
    run_pending()

    assert job.result(timeout=5) == {"sent": True, "to": "ada@example.com"}
    assert {"job_id": job.job_id, "status": job.status} == {"job_id": str(job), "status": "success"}


def test_a_result_is_read_from_the_row() -> None:
    job = process_data.delay(data_id="123", options={"format": "json"})
    run_pending()

    result = job.wait(timeout=60)
    assert result is not None
    assert result.success
    assert result.result == {"processed": True}


def test_an_async_function_is_a_task_as_it_stands() -> None:
    job = tasks.health_check.delay()
    run_pending()

    value: Any = job.result(timeout=5)
    assert value == "ok"


# ── time limits and retries ──────────────────────────────────────────────────────────────────────


def test_each_task_may_have_its_own_time_limit() -> None:
    limits = {each: each.options.get("timeout", load_settings().processes.timeout) for each in _with_limits()}

    assert list(limits.values()) == [60, 1800, 300, 900]


def _with_limits() -> list[TaskFunction[..., Any]]:
    return [tasks.quick_task, tasks.long_task, tasks.ml_inference, tasks.ml_inference_with_its_own_limit]


def delays(func: TaskFunction[..., Any]) -> list[int]:
    """Seconds between the runs of a task that fails again and again."""
    due = [0.0]
    with freeze_time("2030-01-01") as clock, fail_at(func, *range(1, 20)):
        func.delay()
        while run_pending(raise_errors=False) and (waiting := enqueued()):
            assert waiting[0].due is not None
            due.append(waiting[0].due)
            clock.move_to(datetime.fromtimestamp(waiting[0].due, UTC))
    first = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    return [round(later - earlier) for earlier, later in pairwise([first, *due[1:]])]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conservative_task", [300, 600, 1200, 2400, 3600]),
        ("aggressive_task", [30, 60, 120]),
        ("smart_retry_task", [60, 120, 240, 480, 960]),
        ("task_without_retries", []),
    ],
)
def test_retries_as_often_and_as_late_as_the_task_says(settings: Any, name: str, expected: list[int]) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "retry_jitter": False}

    assert delays(getattr(tasks, name)) == expected


def test_a_network_task_is_retried_by_default() -> None:
    job = tasks.ml_inference.delay()

    with fail_at(tasks.ml_inference, 1, 2, 3, error=ConnectionError):
        assert len(run_pending(until=DAY)) == 4
    assert job.status == "success"


def test_a_temporary_error_is_retried_and_a_permanent_one_is_a_result() -> None:
    temporary, permanent = tasks.resilient_task.delay(2), tasks.resilient_task.delay(-1)

    run_pending(until=DAY)

    assert temporary.result(timeout=0) == {"success": True, "result": "data"}
    assert permanent.result(timeout=0) == {"success": False, "error": "no such user"}
    assert (fetch(temporary).attempt_count, fetch(permanent).attempt_count) == (3, 1)  # type: ignore[union-attr]


def test_a_task_may_discard_itself() -> None:
    job = tasks.discarding_task.delay()
    run_pending(raise_errors=False)

    assert job.status == "cancelled"
    with pytest.raises((TaskFailed, Exception), match="Permanent error"):
        job.result(timeout=0)


def test_the_errors_of_the_example_are_errors_of_the_task() -> None:
    job = tasks.quick_task.using(no_retry_on=PermanentError).delay()

    with fail_at(tasks.quick_task, error=TemporaryError("away")), pytest.raises(TemporaryError):
        run_pending()
    with fail_at(tasks.quick_task, 2, error=PermanentError("never")), pytest.raises(PermanentError):
        run_pending(until=DAY)
    assert job.status == "failed"


# ── queues ───────────────────────────────────────────────────────────────────────────────────────


def test_each_task_goes_to_its_queue() -> None:
    tasks.send_email_of_queue.delay("ada@example.com", "Hello")
    tasks.generate_report.delay(7)
    tasks.urgent_task.delay()

    assert [each.queue for each in enqueued()] == ["emails", "reports", "critical"]
    run_pending("emails")
    assert tasks.calls == ["email Hello"]


def test_a_cluster_works_on_one_queue_or_several() -> None:
    """``rearq main:rearq worker --queue default --queue high`` is ``manage.py qcluster -n default,high``."""
    assert load_cluster(["emails"]).queues == ("emails",)
    assert load_cluster(["default", "high", "emails"]).queues == ("default", "high", "emails")
    assert set(load_cluster(["*"]).queues) >= {"default", "high", "low", "emails", "reports"}


# ── cron tasks ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("declared_here")
def test_a_cron_task_runs_every_hour() -> None:
    with freeze_time("2030-01-01 08:30"):
        cron_task(cron="0 * * * *")(tasks.cleanup_old_data)
        ids = run_schedules(until=timedelta(hours=3), run_tasks=True)

    assert [fetch(each).result for each in ids] == [{"deleted": 0}] * 3  # type: ignore[union-attr]


@pytest.mark.usefixtures("declared_here")
def test_the_cron_expressions_of_the_table() -> None:
    with freeze_time(utc(2030, 1, 1, 12, 0, 30)):  # once: to begin and to end it takes a second
        for expression, within in EXPRESSIONS.items():
            cron_task(expression)(tasks.cleanup_old_data)
            assert len(run_schedules(until=within)) == 2, expression
            Schedule.objects.all().delete()


# ── the log of tasks ─────────────────────────────────────────────────────────────────────────────


def test_failures_statistics_and_slow_tasks_are_queries() -> None:
    for _ in range(3):
        send_email.delay("ada@example.com", "Hello", "")
    slow = tasks.long_task.delay()
    with time_out_at(tasks.quick_task):
        tasks.quick_task.using(max_attempts=1).delay()
        run_pending(raise_errors=False)
    Task.objects.filter(pk=slow.id).update(stopped_at=F("started_at") + timedelta(seconds=6))

    failures = Failure.objects.filter(enqueued_at__gte=timezone.now() - timedelta(hours=24))
    stats = Task.objects.aggregate(
        total=Count("id"),
        avg_duration=Avg(F("stopped_at") - F("started_at")),
        success_rate=Count("id", filter=Q(success=True)) * 100.0 / Count("id"),
    )
    slow_tasks = Task.objects.filter(stopped_at__gt=F("started_at") + timedelta(seconds=5)).order_by("-stopped_at")

    assert [each.func for each in failures] == ["tests.seeds.rearq_tasks.quick_task"]
    assert (stats["total"], stats["success_rate"]) == (5, 80)
    assert stats["avg_duration"] > timedelta(seconds=1)
    assert [each.id for each in slow_tasks] == [slow.id]
