"""SQLite under four workers that write to it and web processes that do: nobody hears "database is locked"."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing

import pytest
from django.contrib.auth.models import Group

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject

REQUESTS = 120
SITES = ("here", "there")

PATIENT = {"DJANGO_SETTINGS_MODULE": "tests.e2e.tuned_sqlite"}
"""As the documentation recommends."""


@pytest.mark.parametrize("broker", ["orm", "redis"])
def test_four_workers_and_two_web_processes_write_to_one_sqlite(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, workers=4)
    cluster = project.start(environment=PATIENT)

    sites = [
        project.launch("-m", "tests.e2e.writing_web_process", name, str(REQUESTS), environment=PATIENT)
        for name in SITES
    ]

    assert [site.wait_for_exit(60) for site in sites] == [0, 0], project.tail()
    rows = project.wait_for_rows(REQUESTS * len(SITES), 60)
    assert Counter(row.status for row in rows) == {"success": len(rows)}, {row.error_message for row in rows}
    assert {row.attempt_count for row in rows} == {1}
    expected = {f"{name} {what} {number}" for name in SITES for what in ("sent", "done") for number in range(REQUESTS)}
    assert set(Group.objects.values_list("name", flat=True)) == expected
    wait_until(lambda: project.broker().size().total == 0, because="every message should have been acknowledged")
    assert not [line for log in (cluster, *sites) for line in log.logs.splitlines() if "locked" in line]


@pytest.mark.parametrize("broker", ["orm", "redis"])
def test_tasks_wait_for_each_other_with_the_settings_of_a_new_project(make_project: MakeProject, broker: str) -> None:
    """Nothing in ``OPTIONS``; the web process, which nobody but the project can make wait, does as recommended."""
    project = make_project(broker, workers=4)
    project.enqueue_many("tests.e2e.misbehaving_tasks.update_or_create", [(f"task {number}",) for number in range(400)])
    cluster = project.start()

    site = project.launch("-m", "tests.e2e.writing_web_process", "site", "60", environment=PATIENT)

    assert site.wait_for_exit(60) == 0, project.tail()
    rows = project.wait_for_rows(460, 60)
    assert Counter(row.status for row in rows) == {"success": 460}, {row.error_message for row in rows}
    assert Group.objects.filter(name__startswith="task ").count() == 400
    said = [line for log in (cluster, site) for line in log.logs.splitlines() if "HINT" not in line]
    assert not [line for line in said if "locked" in line]


def test_what_a_project_says_of_its_sqlite_stays(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    with closing(sqlite3.connect(project.database["NAME"])) as file:
        file.execute("PRAGMA journal_mode=DELETE")
    project.start(environment={"DJANGO_SETTINGS_MODULE": "tests.e2e.own_sqlite"})

    task = project.wait_for_row(project.enqueue("tests.e2e.misbehaving_tasks.sqlite_options"))

    assert task.result == {"transaction_mode": "DEFERRED", "timeout": 7, "journal_mode": "delete"}


def test_a_file_that_nobody_may_write_is_only_read(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start(environment={"DJANGO_SETTINGS_MODULE": "tests.e2e.read_only_sqlite"})

    task = project.wait_for_row(project.enqueue("tests.e2e.misbehaving_tasks.read_in_a_transaction", "replica"))

    assert task.success, task.error_message
