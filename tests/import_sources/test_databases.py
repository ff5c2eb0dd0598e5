"""``qimport celery_beat`` and ``qimport tasks_db``, from databases that these packages have made."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_cluster.core.arguments import args_from_text, kwargs_from_text
from django_cluster.models import QueuedTask, Schedule, Task
from django_cluster.testing.drain import drain
from tests.fields import fields
from tests.tasks_framework import tasks_setting

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="these databases are of SQLite"),
    pytest.mark.skipif(not timezone.is_aware(timezone.now()), reason="their moments are those of USE_TZ"),
]
FILES = Path(__file__).parent / "databases"
SOON = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)


def load(name: str) -> None:
    with connection.cursor() as cursor:
        for statement in sorted((FILES / f"{name}.sql").read_text().splitlines()):  # CREATE before INSERT
            cursor.execute(statement.replace("%", "%%"))


def qimport(*arguments: str) -> tuple[tuple[int, int, int], str]:
    """((moved, here already, not moved), all that was said)."""
    out = StringIO()
    call_command("qimport", *arguments, stdout=out)
    (row,) = re.findall(r"^\w+ +(\d+) +(\d+) +(\d+)$", out.getvalue(), re.MULTILINE)
    moved, here, left = map(int, row)
    return (moved, here, left), out.getvalue()


def test_schedules_of_celery_beat_become_rows() -> None:
    load("celery_beat")

    assert qimport("celery_beat", "--dry-run")[0] == (3, 0, 4)
    assert not Schedule.objects.exists()
    numbers, said = qimport("celery_beat")

    assert numbers == (3, 0, 4)
    assert "runs every 10 seconds: schedules here have whole minutes" in said
    assert "wants both a day of the month and a day of the week" in said
    assert "follows the sun" in said
    assert "calls 'a name of its own', which is no dotted path" in said
    rows: dict[Any, Any] = {row.name: row for row in Schedule.objects.all()}
    hourly = rows["every two hours"]
    assert fields(hourly, "schedule_type", "minutes", "queue", "next_run") == {
        "schedule_type": Schedule.MINUTES,
        "minutes": 120,
        "queue": "mail",
        "next_run": SOON + timedelta(hours=2),
    }
    assert args_from_text(hourly.args) == (1, 2)
    assert kwargs_from_text(hourly.kwargs) == {"q_options": {"priority": 5, "expires": 60}}
    nightly = rows["nightly"]
    assert fields(nightly, "cron", "time_zone", "enabled") == {
        "cron": "30 2 * * *",
        "time_zone": "Europe/Amsterdam",
        "enabled": False,
    }
    assert (args_from_text(nightly.args), kwargs_from_text(nightly.kwargs)) == ((1,), {"y": 2})
    once = rows["once"]
    assert (once.schedule_type, once.next_run, once.repeats) == (Schedule.ONCE, SOON, 1)
    assert qimport("celery_beat")[0] == (0, 3, 4)


def test_the_first_and_the_last_moment_of_a_schedule_are_kept() -> None:
    load("celery_beat")
    begin, end = SOON - timedelta(days=9), SOON + timedelta(days=9)
    with connection.cursor() as cursor:
        sql = "UPDATE django_celery_beat_periodictask SET start_time = %s, expires = %s WHERE name = %s"
        cursor.execute(sql, [str(begin)[:19], str(end)[:19], "nightly"])
        cursor.execute(sql, [None, "2020-01-01 00:00:00", "every two hours"])

    assert qimport("celery_beat")[0] == (3, 0, 4)

    rows: dict[Any, Any] = {row.name: row for row in Schedule.objects.all()}
    nightly = rows["nightly"]
    assert (nightly.starts_at, nightly.ends_at) == (begin, end)
    assert begin <= nightly.next_run < begin + timedelta(days=1)
    assert rows["every two hours"].upcoming() == []  # it has ended long ago


def test_rows_that_cannot_be_read_or_told_apart_stay() -> None:
    load("celery_beat")
    with connection.cursor() as cursor:
        sql = "UPDATE django_celery_beat_periodictask SET args = %s, name = %s WHERE name = %s"
        cursor.execute(sql, ["[1", "nightly", "nightly"])
        cursor.execute(sql, ["[1, 2]", "n" * 100 + "1", "every two hours"])
        cursor.execute(sql, ["[1, 2]", "n" * 100 + "2", "once"])

    numbers, said = qimport("celery_beat")

    assert numbers == (1, 0, 6)
    assert "has arguments that are no JSON" in said
    assert "begins its name with the same 100 characters as another schedule" in said


@override_settings(TASKS=tasks_setting(("default", "mail")))
def test_waiting_rows_of_the_database_backend_keep_their_ids_and_run() -> None:
    load("tasks_db")

    assert qimport("tasks_db", "--dry-run")[0] == (2, 0, 2)
    numbers, said = qimport("tasks_db")

    assert numbers == (2, 0, 2)
    assert "1 × stays where it is: it is being run by a worker of django-tasks-db." in said
    assert "tests.nowhere" in said
    assert QueuedTask.objects.count() == 2
    (done,) = drain()
    assert done == f"{1:032x}"
    assert Task.objects.get(pk=done).result == 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM django_tasks_database_dbtaskresult ORDER BY id")
        assert [UUID(str(key)).int for (key,) in cursor.fetchall()] == [3, 4, 5]


@override_settings(TASKS=tasks_setting(("default", "mail")))
def test_waiting_rows_are_sent_in_the_order_in_which_they_were_enqueued() -> None:
    load("tasks_db")
    with connection.cursor() as cursor:
        table = "django_tasks_database_dbtaskresult"
        cursor.execute(f"UPDATE {table} SET enqueued_at = '2026-12-01' WHERE id = %s", [f"{1:032x}"])

    assert qimport("tasks_db")[0] == (2, 0, 2)

    rows = [row.task_id() for row in QueuedTask.objects.order_by("pk")]
    assert rows == [f"{2:032x}", f"{1:032x}"]


def test_a_database_without_the_tables_is_told_so() -> None:
    for source, table in {"celery_beat": "periodictask", "tasks_db": "dbtaskresult"}.items():
        out = StringIO()
        call_command("qimport", source, stdout=out)
        assert "has no table" in out.getvalue()
        assert table in out.getvalue()
