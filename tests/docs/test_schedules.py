"""The examples of docs/how-to/schedules.md do what the page says."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib import import_module, reload

import pytest
from django.utils import timezone

from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import ScheduleSettings
from django_cluster.schedules import declarations
from django_cluster.schedules.dispatcher import ScheduleDispatcher
from tests.datetimes import needs_time_zones, utc
from tests.fields import fields
from tests.sample.tasks import nothing as archive
from tests.sample.tasks import nothing as send_report

pytestmark = pytest.mark.django_db

TOMORROW = timezone.now() + timedelta(days=1)


class Cluster:
    """The schedules of one, without its processes."""

    def __init__(self) -> None:
        self.sent: list[TaskPackage] = []
        section = ScheduleSettings(time_zone="Europe/Amsterdam")
        self.dispatcher = ScheduleDispatcher(section, queue="tests", is_default=True, send=self.sent.extend)

    def look(self, now: datetime) -> list[TaskPackage]:
        self.sent.clear()
        while self.dispatcher.fire_due(now).fired:
            pass
        return self.sent


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that declares what the page declares, and nothing else."""
    declarations.discover()
    monkeypatch.setattr(declarations, "_tasks", set())
    monkeypatch.setattr(declarations, "_declarations", {})
    reload(import_module("tests.docs.scheduled_tasks"))


def test_a_schedule_that_is_made_by_code_runs_at_its_time() -> None:
    # schedule begins
    from django_cluster.models import Schedule
    from django_cluster.tasks import schedule

    schedule(
        "shop.tasks.send_report",
        "daily",
        recipients=["a@example.org"],
        name="daily report",
        schedule_type=Schedule.DAILY,
        next_run=TOMORROW,
        q_options={"timeout": 120, "max_attempts": 3},
    )
    # schedule ends

    cluster = Cluster()
    assert cluster.look(TOMORROW - timedelta(seconds=1)) == []
    (package,) = cluster.look(TOMORROW)
    assert (package.header.func, package.args) == ("shop.tasks.send_report", ("daily",))
    assert dict(package.kwargs) == {"recipients": ["a@example.org"]}
    assert package.header.options.timeout == 120


def test_a_schedule_that_is_kept_at_each_deploy_follows_its_expression() -> None:
    Cluster().look(TOMORROW)

    def deploy(cron: str) -> datetime | None:
        # change begins
        from django_cluster.models import Schedule

        Schedule.objects.update_or_create(
            name="clean up",
            defaults={"func": "shop.tasks.clean_up", "schedule_type": Schedule.CRON, "cron": cron},
        )
        # change ends
        return Schedule.objects.get().next_run

    at_two, again, at_three = deploy("30 2 1 1 *"), deploy("30 2 1 1 *"), deploy("30 3 1 1 *")

    assert at_two is not None
    assert again == at_two
    assert at_three == at_two + timedelta(hours=1)


@needs_time_zones
def test_a_schedule_chooses_for_itself() -> None:
    from django_cluster.models import Schedule
    from django_cluster.tasks import schedule

    # choices begin
    schedule(
        archive,
        schedule_type=Schedule.CRON,
        cron="30 2 * * *",
        q_options={
            "time_zone": "America/New_York",
            "catch_up": "skip",
            "no_overlap": True,
            "ends_at": TOMORROW + timedelta(days=365),
            "timeout": 3600,
        },
    )
    # choices end

    row = Schedule.objects.get()
    assert row.describe() == "at 02:30, every day (America/New_York)"
    assert fields(row, "catch_up", "no_overlap", "kwargs") == {
        "catch_up": "skip",
        "no_overlap": True,
        "kwargs": "{'q_options': {'timeout': 3600}}",
    }
    assert len(row.upcoming(400)) in {365, 366, 367}
    assert send_report is archive


@needs_time_zones
@pytest.mark.usefixtures("examples")
def test_declared_schedules_have_their_rows_when_a_cluster_runs() -> None:
    from django_cluster.models import Schedule

    cluster = Cluster()
    now = utc(2026, 11, 20, 3)

    first = cluster.look(now)

    assert sorted(package.header.func.rpartition(".")[2] for package in first) == ["fetch_prices", "send_invoices"]
    words = {row.name: row.describe() for row in Schedule.objects.all()}
    assert words["tests.docs.scheduled_tasks.report"] == "at 05:00, on Monday to Friday (Europe/Amsterdam)"
    assert words["invoices"].startswith("every month on day 31 at 08:00")
    (report,) = cluster.look(utc(2026, 11, 20, 4))
    assert report.header.func.endswith(".report")


@needs_time_zones
@pytest.mark.usefixtures("examples")
def test_marked_functions_may_be_chosen() -> None:
    from django_cluster.decorators import registered_tasks

    assert [path.rpartition(".")[2] for path in registered_tasks()] == [
        *("fetch_prices", "greet", "report", "send_invoices")
    ]
