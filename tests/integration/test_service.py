"""The task service, and the commands on top of it, on a queue in memory and rows in a database."""

from __future__ import annotations

import io
import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from django_cluster import Group, async_task, get_task_service
from django_cluster.brokers import memory
from django_cluster.models import Schedule, Task
from django_cluster.models.task import saved_tasks
from django_cluster.service import DjangoTasks, TaskService
from django_cluster.testing.drain import drain
from tests.sample import tasks

pytestmark = pytest.mark.django_db

service = get_task_service()


@pytest.fixture(autouse=True)
def _in_memory(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False, "max_attempts": 1}
    memory.reset()


def failed(count: int = 1, **options: Any) -> list[str]:
    ids = [async_task(tasks.fail, q_options=options) for _ in range(count)]
    drain(options.get("queue"), raise_errors=False)
    return ids


def row(task_id: str) -> Task:
    return saved_tasks().get(pk=task_id)


def run(command: str, *arguments: str) -> tuple[Any, int]:
    """(what it printed as JSON, its exit code)."""
    out = io.StringIO()
    try:
        call_command(command, *arguments, "--json", stdout=out)
    except SystemExit as error:
        return json.loads(out.getvalue()), int(str(error.code))
    return json.loads(out.getvalue()), 0


# ── seed 003, line by line ───────────────────────────────────────────────────────────────────────


def test_the_examples_of_the_seed() -> None:
    manager = DjangoTasks()
    failed(2)
    async_task(tasks.nothing)

    stats = manager.get_queue_stats()
    assert (stats["pending"], stats["workers"], stats.get("failed", 0)) == (1, 0, 2)
    assert ("healthy" if stats["workers"] > 0 else "unhealthy") == "unhealthy"
    dashboard = {
        "total_queues": len(service.get_all_queues()),
        "pending_tasks": service.count_pending_tasks(),
        "completed_today": service.count_completed_tasks(hours=24),
        "failed_tasks": service.count_failed_tasks(),
    }
    assert dashboard == {"total_queues": 1, "pending_tasks": 1, "completed_today": 0, "failed_tasks": 2}

    failures = manager.get_failed_tasks(queue="tests")
    for task_data in failures:
        assert manager.retry_task(task_data["message_id"])
    assert len(failures) == 2
    assert service.count_pending_tasks() == 3

    manager.pause_queue("tests")
    assert manager.get_queue_stats()["paused"]
    manager.resume_queue("tests")
    assert not manager.get_queue_stats()["paused"]
    drain(raise_errors=False)
    assert service.count_completed_tasks(hours=24) == 1
    manager.clear_failed_tasks()
    assert service.count_failed_tasks() == 0

    for _ in range(2):
        manager.schedule_periodic_task("cleanup", tasks.nothing, interval_seconds=3600)
        manager.schedule_periodic_task("backup", tasks.nothing, interval_seconds=86400)
    assert sorted(Schedule.objects.values_list("name", "minutes")) == [("backup", 1440), ("cleanup", 60)]


def test_there_is_one_service_which_holds_nothing() -> None:
    assert get_task_service() is service
    assert vars(service) == {}
    assert DjangoTasks is TaskService


# ── retry under the same id ──────────────────────────────────────────────────────────────────────


def test_a_retried_task_keeps_its_id_and_its_runs_and_counts_attempts_anew() -> None:
    (task_id,) = failed(max_attempts=2, retry_delay=0)
    drain(raise_errors=False, retries=True)
    assert (row(task_id).attempt_count, row(task_id).final) == (2, True)

    assert service.retry_task(task_id)
    assert not service.retry_task(task_id)  # it waits
    assert (row(task_id).attempt_count, row(task_id).final) == (0, False)
    assert [each["number"] for each in row(task_id).attempts or ()] == [1, 2]
    drain(raise_errors=False, retries=True)

    found = row(task_id)
    assert (found.attempt_count, found.final, found.correlation_id) == (4, True, task_id)
    assert [each["number"] for each in found.attempts or ()] == [1, 2, 3]
    assert found.call() == ((), {})  # the seal of the row holds
    assert Task.objects.count() == 1
    assert service.retry_task(task_id)  # and again


def test_a_retry_that_succeeds_keeps_the_failures_before(monkeypatch: pytest.MonkeyPatch) -> None:
    (task_id,) = failed()
    monkeypatch.setattr(tasks, "fail", lambda message="": "well")
    assert service.retry_task(task_id)
    drain()

    found = row(task_id)
    assert (found.status, found.result, found.attempt_count) == ("success", "well", 2)
    assert [(each["number"], each["status"]) for each in found.attempts or ()] == [(1, "failure")]
    assert not service.retry_task(task_id)
    assert not service.retry_task("0" * 32)


def test_a_member_of_a_group_that_is_retried_completes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group([(tasks.fail,), (tasks.nothing,)]).on_success(tasks.nothing)
    group.run()
    drain(raise_errors=False)
    monkeypatch.setattr(tasks, "fail", lambda message="": "well")
    assert service.retry_failed().sent == 1
    drain()

    assert [task.success for task in group.fetch()] == [True, True]
    assert saved_tasks().correlated(group.id).count() == 3  # what follows has run


def test_a_retry_that_cannot_be_sent_leaves_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    (task_id,) = failed()
    before = Task.objects.values().get()

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr("django_cluster.client.client.Client.submit", refuse)
    assert service.retry_failed().errors == [f"{row(task_id)}: no"]
    assert Task.objects.values().get() == before


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────


def test_what_is_counted_and_cleared_is_of_the_queue_and_the_hours() -> None:
    failed(2)
    failed(1, queue="mail")
    Task.objects.filter(queue="mail").update(stopped_at=timezone.now() - timedelta(hours=5))

    assert service.count_failed_tasks(queue="mail") == 1
    assert service.count_failed_tasks(hours=1) == 2
    assert [each["queue"] for each in service.get_failed_tasks(limit=1, offset=2)] == ["mail"]
    assert service.clear_failed_tasks(older_than=timedelta(hours=1)) == 1
    assert service.clear_failed_tasks("mail") == 0
    assert service.count_failed_tasks() == 2
    assert service.delete_task(service.get_failed_tasks()[0]["message_id"])
    assert service.count_failed_tasks() == 1


def test_the_health_is_told_also_if_the_schedules_cannot_be_read() -> None:
    def refuse(execute: Any, sql: str, *rest: Any) -> Any:
        if "COUNT" in sql and Schedule._meta.db_table in sql:
            raise OperationalError("no such disk")
        return execute(sql, *rest)

    with connection.execute_wrapper(refuse):
        found = service.health()

    assert found["status"] == "unhealthy"
    assert "no such disk" in found["reasons"][0]


def test_without_workers_the_health_says_so() -> None:
    async_task(tasks.nothing)
    service.pause_queue()

    found = service.health()
    assert (found["status"], found["reasons"]) == ("unhealthy", ["No worker is running.", "Queue tests is paused."])
    assert service.get_worker_stats() == service.get_running_tasks() == []


def test_a_periodic_task_is_changed_in_place_and_only_by_minutes() -> None:
    first = service.schedule_periodic_task("cleanup", tasks.nothing, 3600)
    second = service.schedule_periodic_task("cleanup", tasks.add, 7200, 1, b=2)

    assert (second.pk, second.func, second.minutes) == (first.pk, "tests.sample.tasks.add", 120)
    assert (Schedule.objects.get().args, Schedule.objects.get().kwargs) == (second.args, second.kwargs)
    with pytest.raises(ValueError, match="multiple of 60"):
        service.schedule_periodic_task("cleanup", tasks.nothing, 90)


def test_acts_are_logged_with_who_did_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "django_cluster"):
        service.pause_queue("mail", timedelta(hours=1), by="Ada")
        service.pause_task(tasks.add, by="Ada")

    acts = [tuple(map(vars(each).get, ("act", "target", "by"))) for each in caplog.records if hasattr(each, "act")]
    assert acts == [("pause_queue", "mail", "Ada"), ("pause_task", "tests.sample.tasks.add", "Ada")]


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_sent_cancelled_and_retried_from_the_command_line() -> None:
    sent, code = run("qenqueue", "tests.sample.tasks.add", "1", "--kwargs", '{"b": 2}', "--options", '{"priority": 3}')
    assert code == 0
    drain()
    assert row(sent["id"]).result == 3
    assert run("qretry", sent["id"]) == ({sent["id"]: False}, 3)

    sent, _ = run("qenqueue", "tests.sample.tasks.echo", "ada@example.com")
    assert run("qcancel", sent["id"]) == ({sent["id"]: "cancelled"}, 0)
    assert run("qcancel", sent["id"]) == ({sent["id"]: "too late"}, 3)

    (task_id,) = failed()
    assert run("qretry", task_id) == ({task_id: True}, 0)
    drain(raise_errors=False)
    done, code = run("qretry", "--failed", "--queue", "tests")
    assert (done["failed tasks"]["sent"], code) == (1, 0)


def test_queues_and_functions_are_paused_from_the_command_line() -> None:
    path = "tests.sample.tasks.add"
    assert run("qpause", "mail", "--for", "3600", "--task", path, "--by", "Ada") == (
        {"queue mail": True, f"task {path}": True},
        0,
    )
    assert run("qpause", "mail") == ({"queue mail": False}, 3)
    assert run("qresume", "mail", "--task", path) == ({"queue mail": True, f"task {path}": True}, 0)
    assert run("qresume") == ({"queue tests": False}, 3)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("qenqueue", ["no.such.function"], "no.such"),
        ("qenqueue", ["math.sqrt", "--kwargs", "[1]"], "JSON object"),
        ("qenqueue", ["math.sqrt", "--options", '{"prioriti": 1}'], "priority"),
        ("qenqueue", ["tests.sample.tasks.add", "1", "2", "3"], "positional"),
        ("qretry", [], "--failed"),
        ("qretry", ["--failed", "--limit", "0"], "at least 1"),
        ("qenqueue", ["math.sqrt", "[" * 100_000], "recursion"),
        ("qenqueue", ["math.sqrt", "--options", "[" * 100_000], "recursion"),
        ("qretry", ["--failed", "--hours", "inf"], "not inf"),
        ("qpause", ["--for", "1e300"], "0 to 3155760000"),
        ("qpause", ["--for", "nan"], "not nan"),
        ("qpause", ["--until", "0001-01-01T00:00"], "range"),
        ("qpause", [""], "1 to 100"),
        ("qpause", ["q" * 101], "1 to 100"),
        ("qpause", ["a\0"], "NUL"),
        ("qpause", ["--until", "soon"], "--until"),
        ("qpause", ["--until", "2020-01-01T00:00"], "future"),
    ],
)
def test_a_mistake_is_a_sentence(command: str, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command(command, *arguments)
