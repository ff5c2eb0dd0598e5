"""``manage.py qimport django_q``, from tables and lists that the real Django-Q has made."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from django_cluster.core.arguments import kwargs_from_text
from django_cluster.django_q.importer.source import SourceMessage, SourceSchedule, SourceTask
from django_cluster.models import QueuedTask, Schedule, Task
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.e2e.running_cluster import ROOT
from tests.fields import fields
from tests.servers import RedisServer

pytest.importorskip("django_q")


def leave(project: Project, *parts: str, redis: str = "") -> None:
    """Have the real Django-Q leave something in the database of the project."""
    environment = {
        **project.environment(),
        "THEIR_NAME": project.name,
        "THEIR_TRACE": str(project.trace),
        "THEIR_REDIS": redis,
        "PYTHONWARNINGS": "ignore",
    }
    environment.pop("DJANGO_SETTINGS_MODULE")
    command = [sys.executable, "-m", "tests.e2e.django_q_project", *parts]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def qimport(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("qimport", "django_q", *arguments, stdout=out, **options)
    return out.getvalue()


def numbers(said: str) -> dict[str, tuple[int, int, int]]:
    """The table: part → (moved, here already, not moved)."""
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+)$", said, re.MULTILINE)
    return {name: (int(moved), int(here), int(left)) for name, moved, here, left in rows}


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_results_come_with_their_ids_arguments_and_errors(make_project: MakeProject, database: str) -> None:
    project = make_project(database=database)
    leave(project, "results")

    said = qimport("--only", "results")

    assert numbers(said)["Results"][:2] == (5, 0)
    rows = {row.name: row for row in project.rows()}
    theirs = {row["name"]: row for row in _values(SourceTask)}
    assert {name: row.id for name, row in rows.items()} == {name: row["id"] for name, row in theirs.items()}
    total, echo = rows["a sum"], rows["an echo"]
    assert fields(total, "result", "args", "kwargs", "group", "success") == {
        "result": 5,
        "args": (2, 3),
        "kwargs": {},
        "group": "sums",
        "success": True,
    }
    assert (total.started, total.stopped) == (theirs["a sum"]["started"], theirs["a sum"]["stopped"])
    assert (echo.args, echo.kwargs) == (("x", {"deep": [1]}), {"y": None})
    assert echo.result == (("x", {"deep": [1]}), {"y": None})
    failure = rows["a failure"]
    assert (failure.status, failure.error_message) == ("failure", "no luck")
    assert failure.error_traceback.startswith("Traceback (most recent call last):\n  File x")
    assert failure.result == theirs_text()
    assert rows["a time-out"].status == "timeout"


def theirs_text() -> str:
    return "no luck : Traceback (most recent call last):\n  File x\nValueError: no luck\n"


def _values(source: Any) -> list[dict[str, Any]]:
    from django.db.models import QuerySet

    return list(QuerySet(source).values())


def test_values_with_classes_are_left_out_until_somebody_trusts_the_table(make_project: MakeProject) -> None:
    project = make_project()
    leave(project, "results")

    said = qimport("--only", "results")
    assert "1 × came without its arguments, which holds more than plain values" in said
    row = Task.objects.get(name="a date")
    assert (row.args, row.result) == ((), None)

    row.delete()
    said = qimport("--only", "results", "--trust-pickles")
    assert "×" not in said
    row = Task.objects.get(name="a date")
    assert row.args == (date(2026, 1, 2),)
    assert row.result == ((date(2026, 1, 2),), {})


def test_nothing_runs_while_a_pickle_that_is_a_trap_is_taken_over(make_project: MakeProject) -> None:
    project = make_project()
    leave(project, "results")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_q_task SET result = %s, args = %s", [trap(project), trap(project)])

    qimport("--only", "results", "--trust-pickles")
    qimport("--only", "results")

    assert project.traces() == []


def trap(project: Project) -> str:
    """What an attacker would put into a column: it leaves a trace when it is opened."""
    import pickle
    from base64 import b64encode

    from tests.sample.tasks import touch

    class Trap:
        def __reduce__(self) -> Any:
            return touch, (str(project.trace),)

    return b64encode(pickle.dumps(Trap())).decode()


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_schedules_come_as_they_are_and_run(make_project: MakeProject, database: str) -> None:
    project = make_project(database=database)
    leave(project, "schedules")

    said = qimport("--only", "schedules")

    assert numbers(said)["Schedules"][:2] == (5, 0)
    daily, theirs = Schedule.objects.get(name="daily"), next(s for s in _values(SourceSchedule) if s["name"] == "daily")
    assert fields(daily, "func", "args", "repeats", "next_run") == {
        "func": "tests.sample.tasks.add",
        "args": theirs["args"],
        "repeats": 7,
        "next_run": theirs["next_run"],
    }
    cron = Schedule.objects.get(schedule_type="C")
    assert cron.next_run == next(s["next_run"] for s in _values(SourceSchedule) if s["schedule_type"] == "C")
    frank = Schedule.objects.get(kwargs__contains="ack_failure")
    assert kwargs_from_text(frank.kwargs) == {"y": 2, "q_options": {"ack_failure": True, "timeout": 30}}
    broken = Schedule.objects.get(name="broken")
    assert not broken.enabled
    assert "not a dotted path" in broken.last_error
    assert "1 × is disabled, because it could not be fired" in said

    project.start()
    project.wait_for_traces(1)


def test_an_import_can_be_repeated_and_takes_nothing_twice(make_project: MakeProject) -> None:
    project = make_project()
    leave(project, "results", "schedules", "queue")
    qimport()
    cluster = project.start()
    project.wait_for_traces(1)
    project.wait_for_rows(5 + 1 + 7)
    cluster.stop()

    said = qimport()

    assert numbers(said)["Schedules"][:2] == (0, 5)
    assert numbers(said)["Results"][:2] == (0, 5)
    assert numbers(said)["Queue"][:2] == (0, 0)
    assert QueuedTask.objects.count() == 0
    assert Schedule.objects.count() == 5
    assert len(project.traces()) == 1


def test_a_dry_run_says_the_same_and_changes_nothing(make_project: MakeProject) -> None:
    project = make_project()
    leave(project, "results", "schedules", "queue")

    said = qimport("--dry-run")

    assert numbers(said)["Schedules"][0] == 5
    assert numbers(said)["Results"][0] == 5
    assert numbers(said)["Queue"][0] == 5
    counts = [Task.objects.count(), Schedule.objects.count(), QueuedTask.objects.count()]
    assert counts == [0, 0, 0]
    assert len(_values(SourceMessage)) == 7


@pytest.mark.parametrize("broker", ["orm", "redis"])
def test_waiting_tasks_move_with_their_ids_and_run_once(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    leave(project, "queue")

    said = qimport("--only", "queue")

    assert numbers(said)["Queue"][0] == 5
    assert "1 × stays where it is: it belongs to an async_iter" in said
    assert "1 × stays where it is: it is signed with another SECRET_KEY or name" in said
    assert len(_values(SourceMessage)) == 2
    project.start()
    rows = {row.name: row for row in project.wait_for_rows(7)}
    assert [rows[f"waiting {number}"].result for number in range(3)] == [1, 2, 3]
    links = sorted((row.started_at, row.result) for row in rows.values() if row.group == "chain")
    assert [result for _, result in links] == [2, 4, ((3,), {"x": 4})]
    assert (rows["waiting 0"].group, rows["waiting date"].args) == ("waiting", (date(2026, 1, 2),))


def test_waiting_tasks_move_from_a_list_in_redis(make_project: MakeProject, redis_server: RedisServer) -> None:
    project = make_project("redis")
    leave(project, "queue", redis=redis_server.url)

    said = qimport("--only", "queue", "--redis", redis_server.url, "--dry-run")
    assert numbers(said)["Queue"][0] == 5
    said = qimport("--only", "queue", "--redis", redis_server.url)

    assert numbers(said)["Queue"][0] == 5
    assert project.broker().size().total == 5
    again = qimport("--only", "queue", "--redis", redis_server.url)
    assert numbers(again)["Queue"][0] == 0
    assert "1 × stays where it is" in again
    project.start()
    project.wait_for_rows(7)


def test_django_q_s_own_setting_says_where_its_queue_is(make_project: MakeProject, redis_server: RedisServer) -> None:
    project = make_project("redis")
    leave(project, "queue", redis=redis_server.url)

    with override_settings(Q_CLUSTER={**settings.Q_CLUSTER, "redis": redis_server.url}):
        assert numbers(qimport("--dry-run"))["Queue"][0] == 5
        assert numbers(qimport())["Queue"][0] == 5
        assert project.broker().size().total == 5


def test_a_queue_that_may_be_elsewhere_is_said(make_project: MakeProject) -> None:
    project = make_project("orm")
    leave(project)

    with override_settings(Q_CLUSTER={**settings.Q_CLUSTER, "orm": "default"}):
        assert "If Django-Q had its queue in Redis, say where: --redis URL." in qimport("--only", "queue")
    with override_settings(Q_CLUSTER={"name": project.name, "iron_mq": {"token": "t", "project_id": "p"}}):
        assert "Q_CLUSTER names 'iron_mq': a queue there is not read." in qimport("--only", "queue", "--dry-run")


def test_a_message_of_another_site_is_read_under_its_name(make_project: MakeProject) -> None:
    project = make_project()
    leave(project, "queue")
    from django.test import override_settings

    with override_settings(Q_CLUSTER={**project.q_cluster, "name": "renamed"}):
        assert numbers(qimport("--only", "queue", "--dry-run"))["Queue"][0] == 0
        assert numbers(qimport("--only", "queue", "--dry-run", "--site", project.name))["Queue"][0] == 5


def test_the_tables_of_an_older_version_have_fewer_columns(make_project: MakeProject) -> None:
    project = make_project()
    leave(project, "results", "schedules")
    with connection.cursor() as cursor:
        for table, columns in {
            "django_q_task": ("cluster", "attempt_count"),
            "django_q_schedule": ("cluster", "intended_date_kwarg", "cron"),
        }.items():
            for column in columns:
                cursor.execute(f"ALTER TABLE {table} DROP COLUMN {column}")

    said = qimport("--only", "results,schedules")

    assert numbers(said)["Results"][0] == 5
    assert numbers(said)["Schedules"][0] == 5
    assert {row.attempt_count for row in Task.objects.all()} == {1}


def test_a_project_without_those_tables_is_told_so(make_project: MakeProject) -> None:
    make_project()

    said = qimport()

    assert "The database 'default' has no table django_q_task." in said


def test_unknown_parts_and_databases_are_refused(make_project: MakeProject) -> None:
    make_project()

    with pytest.raises(CommandError, match="--only knows schedules, results, queue, not rows"):
        qimport("--only", "rows")
    with pytest.raises(CommandError, match="no database 'elsewhere'"):
        qimport("--database", "elsewhere")
