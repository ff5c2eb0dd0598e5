"""SQLite under four workers that write to it and web processes that do: nobody hears "database is locked"."""

from __future__ import annotations

from collections import Counter

import pytest
from django.contrib.auth.models import Group

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject

REQUESTS = 120
SITES = ("here", "there")

PATIENT = {"DJANGO_SETTINGS_MODULE": "tests.e2e.patient_sqlite"}
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
