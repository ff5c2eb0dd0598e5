"""Schedules that stand in the code have rows that follow the code, whatever versions of it are running."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import ScheduleSettings
from django_cluster.decorators import cron_task, periodic_task, registered_tasks, schedulable
from django_cluster.errors import NotSerializable, UnknownFunction, UnsuitableFunction
from django_cluster.models.schedule import Schedule
from django_cluster.schedules import declarations
from django_cluster.schedules.creation import build_schedule
from django_cluster.schedules.declaration_sync import TOUCH_INTERVAL, UNDECLARED_AFTER, DeclarationSync
from django_cluster.schedules.dispatcher import ScheduleDispatcher
from tests.datetimes import AMSTERDAM, here, kept, needs_time_zones, utc
from tests.fields import fields
from tests.sample import tasks

NOW = utc(2026, 11, 20, 12, 0, 30)
HOUR = timedelta(hours=1)
ECHO = "tests.sample.tasks.echo"


@pytest.fixture(autouse=True)
def no_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with a program that declares nothing."""
    declarations.discover()
    monkeypatch.setattr(declarations, "_tasks", set())
    monkeypatch.setattr(declarations, "_declarations", {})


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Become a program whose code says nothing of what was declared before."""
    return lambda: monkeypatch.setattr(declarations, "_declarations", {})


def start(now: datetime = NOW) -> DeclarationSync:
    rows = DeclarationSync("default", AMSTERDAM)
    rows.sync(now)
    return rows


def dispatcher(outbox: list[TaskPackage]) -> ScheduleDispatcher:
    section = ScheduleSettings(time_zone="Europe/Amsterdam")
    return ScheduleDispatcher(section, queue="tests", is_default=True, send=outbox.extend, broker_database="default")


# ── the decorators ───────────────────────────────────────────────────────────────────────────────


def test_a_decorated_function_is_still_itself() -> None:
    assert schedulable(tasks.echo) is tasks.echo
    assert cron_task("0 5 * * *")(tasks.echo) is tasks.echo
    assert periodic_task(schedule_type="D", name="daily")(tasks.echo) is tasks.echo


def test_decorated_functions_are_registered_tasks() -> None:
    schedulable(tasks.nothing)
    cron_task("0 5 * * *")(tasks.echo)
    cron_task(every=HOUR, name="again")(tasks.echo)

    assert registered_tasks() == [ECHO, "tests.sample.tasks.nothing"]


@pytest.mark.parametrize(
    ("decorate", "words"),
    [
        (lambda: cron_task(), "either an expression"),
        (lambda: cron_task("0 5 * * *", every=HOUR), "either an expression"),
        (lambda: cron_task(every=timedelta(seconds=90)), "whole number of minutes"),
        (lambda: cron_task(every=timedelta(0)), "whole number of minutes"),
        (lambda: cron_task("* * * * * *")(tasks.echo), "five are needed"),
        (lambda: periodic_task(schedule_type="I")(tasks.echo), "needs a number of minutes"),
        pytest.param(
            lambda: periodic_task(schedule_type="D", time_zone="Mars/Olympus")(tasks.echo),
            "is not a time zone",
            marks=needs_time_zones,
        ),
        (lambda: periodic_task(schedule_type="D", catch_up="sometimes")(tasks.echo), "sometimes"),
        (
            lambda: periodic_task(schedule_type="D", starts_at=NOW, ends_at=NOW - HOUR)(tasks.echo),
            "lies before the start",
        ),
        (lambda: periodic_task(schedule_type="D", name="x" * 300)(tasks.echo), "at most 255 characters"),
    ],
)
def test_a_declaration_that_could_never_be_fired_is_refused_where_it_stands(
    decorate: Callable[[], Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        decorate()
    assert declarations.declarations() == []


@pytest.mark.parametrize(
    "decorate",
    [schedulable, cron_task("0 5 * * *"), cron_task(every=HOUR), periodic_task(schedule_type="D")],
    ids=range(4),
)
def test_an_async_generator_is_refused_where_it_stands(decorate: Callable[[Any], Any]) -> None:
    with pytest.raises(UnsuitableFunction, match=r"generate_later is an async generator"):
        decorate(tasks.generate_later)
    assert declarations.declarations() == []


def test_a_hook_that_cannot_be_called_with_a_task_is_refused_where_it_stands() -> None:
    with pytest.raises(TypeError, match=r"the finished task: .* too many positional arguments"):
        periodic_task(schedule_type="D", hook=tasks.nothing)


def test_arguments_that_cannot_be_kept_are_refused_where_they_stand() -> None:
    with pytest.raises(NotSerializable):
        periodic_task(schedule_type="D", args=(object(),))
    with pytest.raises(UnknownFunction, match="lambda"):
        cron_task("0 5 * * *")(lambda: None)


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db
def test_a_declaration_gets_its_row_when_a_cluster_starts() -> None:
    cron_task("30 2 * * *", name="nightly", args=(1, 2), kwargs={"x": 3}, catch_up="skip", q_options={"timeout": 9})(
        tasks.echo
    )

    start()

    row = Schedule.objects.get()
    assert fields(row, "declared", "is_declared", "name") == {
        "declared": f"{ECHO}:nightly",
        "is_declared": True,
        "name": "nightly",
    }
    assert fields(row, "func", "schedule_type", "cron", "catch_up") == {
        "func": ECHO,
        "schedule_type": "C",
        "cron": "30 2 * * *",
        "catch_up": "skip",
    }
    assert (row.args, row.kwargs) == ("(1, 2)", "{'x': 3, 'q_options': {'timeout': 9}}")
    assert row.next_run == here(2026, 11, 21, 2, 30)


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.django_db
def test_moments_of_a_declaration_are_those_of_the_project(
    use_tz: bool, forget: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(USE_TZ=use_tz):
        for name in ("first", "again"):
            forget()
            periodic_task(
                schedule_type="D",
                next_run=datetime(2020, 1, 1, 7, tzinfo=AMSTERDAM),
                starts_at=datetime(2030, 1, 1, 12, tzinfo=UTC),
            )(tasks.echo)
            start(kept(datetime(2026, 11, 20, 12, tzinfo=UTC)))
            row = Schedule.objects.get()
            assert row.next_run == kept(datetime(2030, 1, 2, 7, tzinfo=AMSTERDAM)), name
    assert caplog.messages == []


@pytest.mark.django_db
def test_two_clusters_and_two_starts_make_one_row() -> None:
    cron_task(every=HOUR)(tasks.echo)

    for _ in range(3):
        start()

    assert Schedule.objects.count() == 1


@pytest.mark.django_db
def test_a_row_that_another_cluster_makes_at_the_same_moment_is_enough() -> None:
    cron_task(every=HOUR)(tasks.echo)
    (declaration,) = declarations.declarations()
    first, second = DeclarationSync("default", None), DeclarationSync("default", None)

    first._insert(declaration, NOW)
    second._insert(declaration, NOW)

    assert Schedule.objects.count() == 1


@pytest.mark.django_db
def test_runs_are_counted_from_the_moment_that_is_declared_and_missed_ones_are_not_made_up_for() -> None:
    periodic_task(schedule_type="M", next_run=here(2020, 1, 31, 8))(tasks.echo)

    start()

    row = Schedule.objects.get()
    assert row.next_run == here(2026, 11, 30, 8)
    assert row.upcoming(2)[1] == here(2026, 12, 31, 8)


@pytest.mark.django_db
def test_what_is_to_run_once_runs_once_however_often_clusters_start() -> None:
    periodic_task(schedule_type="O", next_run=NOW - HOUR)(tasks.nothing)
    outbox: list[TaskPackage] = []

    for hours in range(3):
        dispatcher(outbox).fire_due(NOW + hours * HOUR)

    assert len(outbox) == 1
    assert Schedule.objects.get().repeats == 0


@pytest.mark.django_db
def test_a_changed_declaration_changes_its_row_and_an_unchanged_one_does_not() -> None:
    cron_task("0 5 * * *")(tasks.echo)
    start()
    Schedule.objects.update(enabled=False, runs=7)
    before = Schedule.objects.get()
    start(NOW + timedelta(seconds=1))
    unchanged = Schedule.objects.get()
    assert (unchanged.next_run, unchanged.anchor) == (before.next_run, before.anchor)

    cron_task("0 6 * * *", hook="tests.sample.hooks.note")(tasks.echo)
    start(NOW + timedelta(seconds=2))

    after = Schedule.objects.get()
    assert (after.cron, after.hook) == ("0 6 * * *", "tests.sample.hooks.note")
    assert after.next_run == here(2026, 11, 21, 6)
    assert (after.enabled, after.runs) == (False, 7)


@pytest.mark.django_db
def test_a_schedule_in_progress_goes_on_through_a_restart() -> None:
    cron_task(every=HOUR, catch_up="all")(tasks.nothing)
    outbox: list[TaskPackage] = []
    first = dispatcher(outbox)
    first.fire_due(NOW)
    for minutes in (60, 61):
        first.fire_due(NOW + timedelta(minutes=minutes))

    second = dispatcher(outbox)
    for _ in range(4):
        second.fire_due(NOW + 3 * HOUR + timedelta(minutes=1))

    assert len(outbox) == 4
    assert len({package.id for package in outbox}) == 4


@pytest.mark.django_db
def test_what_is_declared_no_more_is_not_fired_and_its_row_is_deleted_in_the_end(forget: Callable[[], None]) -> None:
    cron_task(every=HOUR)(tasks.nothing)
    start()
    forget()
    outbox: list[TaskPackage] = []

    newer = dispatcher(outbox)
    newer.fire_due(NOW + timedelta(seconds=1))
    assert Schedule.objects.count() == 1
    newer.fire_due(NOW + UNDECLARED_AFTER + timedelta(seconds=5))

    assert outbox == []
    assert not Schedule.objects.exists()


@pytest.mark.django_db
def test_an_older_cluster_neither_deletes_nor_fires_what_a_newer_one_declares(forget: Callable[[], None]) -> None:
    cron_task(every=HOUR)(tasks.nothing)
    newer = start()
    forget()
    outbox: list[TaskPackage] = []
    older = dispatcher(outbox)

    for minutes in range(30):
        now = NOW + minutes * TOUCH_INTERVAL
        newer.sync(now)
        older.fire_due(now)

    assert Schedule.objects.count() == 1
    assert outbox == []


@pytest.mark.django_db
def test_a_module_that_cannot_be_imported_costs_no_row(
    forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cron_task(every=HOUR)(tasks.nothing)
    start()
    forget()
    broken = DeclarationSync("default", None)
    monkeypatch.setattr(broken, "_complete", False)

    broken.sync(NOW)
    broken.sync(NOW + 2 * UNDECLARED_AFTER)

    assert Schedule.objects.count() == 1


@pytest.mark.django_db
def test_schedules_of_people_are_left_alone(forget: Callable[[], None]) -> None:
    mine = build_schedule(tasks.echo, next_run=NOW + timedelta(days=1))
    cron_task(every=HOUR)(tasks.nothing)

    start()
    forget()
    rows = start()
    rows.sync(NOW + 2 * UNDECLARED_AFTER)

    assert [row.pk for row in Schedule.objects.all()] == [mine.pk]
    assert not mine.is_declared


@pytest.mark.django_db
def test_a_program_without_declarations_asks_once_and_never_again(django_assert_num_queries: Any) -> None:
    rows = DeclarationSync("default", None)

    with django_assert_num_queries(1):
        rows.sync(NOW)
        rows.sync(NOW + 10 * TOUCH_INTERVAL)


def test_the_tasks_of_installed_apps_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr(declarations, "import_module", imported.append)
    declarations.discover.cache_clear()

    assert declarations.discover()
    assert imported == ["tests.sample.tasks"]


def test_a_broken_module_is_logged_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("cannot be imported today")

    monkeypatch.setattr(declarations, "import_module", fail)
    declarations.discover.cache_clear()

    assert not declarations.discover()
    assert "Module tests.sample.tasks not imported" in caplog.text
    declarations.discover.cache_clear()
