"""Databases that Koed00's Django-Q 1.3 and django-q2 1.11 have made (``databases/make.py``) are taken over."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet
from django.test import override_settings
from django.utils import timezone

from django_cluster.django_q.importer.source import SourceMessage, SourceSchedule, SourceTask
from django_cluster.models import QueuedTask, Schedule, Task
from django_cluster.testing.drain import drain
from tests.fields import fields

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="these databases are of SQLite"),
    pytest.mark.skipif(not timezone.is_aware(timezone.now()), reason="their moments are those of USE_TZ"),
]

FILES = Path(__file__).parent / "databases"
Q_CLUSTER = {"name": "old", "orm": "default", "timeout": 60, "retry": 90, "save_limit": 0}


@pytest.fixture(params=["django_q_1_3", "django_q2_1_11"])
def database(request: pytest.FixtureRequest) -> Any:
    with connection.cursor() as cursor:
        for statement in (FILES / f"{request.param}.sql").read_text().splitlines():
            cursor.execute(statement.replace("%", "%%"))
    key = "the key of the databases that Django-Q has made"
    with override_settings(Q_CLUSTER=Q_CLUSTER, SECRET_KEY=key):
        yield request.param


def qimport(*arguments: str) -> dict[str, tuple[int, int, int]]:
    """The table: part → (moved, here already, not moved)."""
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+)$", said(*arguments), re.MULTILINE)
    return {name: (int(moved), int(here), int(left)) for name, moved, here, left in rows}


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("qimport", "django_q", *arguments, stdout=out)
    return out.getvalue()


def test_everything_moves_with_its_ids_and_runs(database: str) -> None:
    assert qimport("--dry-run") == {"Schedules": (2, 0, 0), "Results": (3, 0, 0), "Queue": (3, 0, 2)}
    assert qimport() == {"Schedules": (2, 0, 0), "Results": (3, 0, 0), "Queue": (3, 0, 2)}

    assert dict(Schedule.objects.values_list("name", "id")) == {"once": 2, "daily": 3}
    total, opaque, failure = (Task.objects.get(pk=f"{number:032x}") for number in (1, 2, 3))
    assert fields(total, "args", "result", "group", "success") == {
        "args": (2, 3),
        "result": 5,
        "group": "sums",
        "success": True,
    }
    assert opaque.result is None
    assert (failure.error_message, failure.success) == ("no luck", False)
    assert len(drain()) == 2 + 2  # the chain has two links
    results = Task.objects.filter(name__startswith="waiting ")
    assert {task.name: (task.result, task.group) for task in results} == {
        "waiting 1": (2, "waiting"),
        "waiting 2": (3, "waiting"),
    }


def test_what_a_cluster_holds_stays_until_it_is_stopped(database: str) -> None:
    text = said()
    assert "1 × stays where it is: it is held by a cluster of Django-Q" in text
    assert "1 × stays where it is: it belongs to an async_iter" in text

    assert qimport("--stopped")["Queue"] == (1, 0, 1)

    rows: Any = QueuedTask.objects
    delayed = rows.get(lock__gt=timezone.now())
    assert delayed.name() == "waiting 0"
    assert QuerySet(SourceMessage).count() == 1


def test_a_second_import_follows_what_the_old_cluster_has_done_meanwhile(database: str) -> None:
    qimport()
    later = datetime(2099, 1, 3, 3, 4, 5, tzinfo=UTC)
    QuerySet(SourceSchedule).filter(name="daily").update(next_run=later, repeats=6)
    again = Task.objects.get(pk=f"{3:032x}")
    changes = {"success": True, "stopped": again.stopped + timedelta(1), "result": "gAVLBS4="}
    QuerySet(SourceTask).filter(pk=again.pk).update(**changes)

    assert qimport("--only", "schedules,results") == {"Schedules": (0, 2, 0), "Results": (1, 2, 0)}

    assert fields(Schedule.objects.get(name="daily"), "next_run", "repeats") == {"next_run": later, "repeats": 6}
    assert Task.objects.get(pk=again.pk).result == 5


def test_a_schedule_that_runs_once_is_moved(database: str) -> None:
    qimport()

    left = {row["name"]: row["repeats"] for row in QuerySet(SourceSchedule).values("name", "repeats")}
    assert left == {"once": 0, "daily": 7}  # Django-Q's scheduler leaves out rows without repeats


def test_an_id_that_is_taken_is_said(database: str) -> None:
    mine = Schedule.objects.create(id=3, name="mine", func="tests.sample.tasks.add", args="(1, 2)")

    assert "1 × got another id, because its own is that of another schedule here" in said("--only", "schedules")

    assert Schedule.objects.get(pk=mine.pk).name == "mine"
    assert Schedule.objects.get(name="daily").pk not in (2, 3)


def test_classes_are_opened_only_on_the_users_word(database: str) -> None:
    assert "1 × came without its result, which holds more than plain values" in said("--only", "results")
    Task.objects.get(pk=f"{2:032x}").delete()

    qimport("--only", "results", "--trust-pickles")

    assert Task.objects.get(pk=f"{2:032x}").result == date(2026, 1, 2)
