"""Another rule means another next run, whichever way it is written; and the same rule again means nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import serializers
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import ScheduleSettings
from django_cluster.models.schedule import Schedule
from django_cluster.schedules.dispatcher import ScheduleDispatcher
from django_cluster.schedules.replanning import COMPARE_INTERVAL
from tests.datetimes import AMSTERDAM, kept, needs_time_zones
from tests.fields import fields

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FUNC = "tests.sample.tasks.nothing"


class Outbox(list[TaskPackage]):
    def __call__(self, packages: Sequence[TaskPackage]) -> None:
        self.extend(packages)


def make_dispatcher(outbox: Outbox | None = None) -> ScheduleDispatcher:
    section = ScheduleSettings(time_zone="Europe/Amsterdam")
    return ScheduleDispatcher(section, queue="tests", is_default=True, send=Outbox() if outbox is None else outbox)


def look(now: datetime | None = None) -> Outbox:
    """What a scheduler sends that has just been started."""
    outbox = Outbox()
    make_dispatcher(outbox).fire_due(now or timezone.now())
    return outbox


def clock(moment: datetime | None) -> str:
    assert moment is not None
    return (moment.astimezone(AMSTERDAM) if timezone.is_aware(moment) else moment).strftime("%H:%M")


def by_update_or_create(**changes: Any) -> None:
    Schedule.objects.update_or_create(name="a", defaults=changes)


def by_save(**changes: Any) -> None:
    row = Schedule.objects.get(name="a")
    for name, value in changes.items():
        setattr(row, name, value)
    row.save()


def by_save_of_some(**changes: Any) -> None:
    row = Schedule.objects.get(name="a")
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(update_fields=list(changes))


def by_a_deferred_row(**changes: Any) -> None:
    row = Schedule.objects.only("name").get(name="a")
    for name, value in changes.items():
        setattr(row, name, value)
    row.save()


def by_update(**changes: Any) -> None:
    Schedule.objects.filter(name="a").update(**changes)


def by_bulk_update(**changes: Any) -> None:
    row = Schedule.objects.get(name="a")
    for name, value in changes.items():
        setattr(row, name, value)
    Schedule.objects.bulk_update([row], list(changes))


def by_bulk_create(**changes: Any) -> None:
    row = Schedule.objects.get(name="a")
    for name, value in changes.items():
        setattr(row, name, value)
    Schedule.objects.bulk_create([row], update_conflicts=True, unique_fields=["id"], update_fields=list(changes))
    look()


def by_sql(**changes: Any) -> None:
    with connection.cursor() as cursor:
        for name, value in changes.items():
            cursor.execute(f"UPDATE django_cluster_schedule SET {name} = %s WHERE name = 'a'", [value])
    look()


def by_a_fixture(**changes: Any) -> None:
    """One that was dumped before, and edited."""
    row = Schedule.objects.get(name="a")
    for name, value in changes.items():
        setattr(row, name, value)
    for loaded in serializers.deserialize("json", serializers.serialize("json", [row])):
        loaded.save()
    look()


def by_a_migration(**changes: Any) -> None:
    historical().objects.filter(name="a").update(**changes)
    look()


def historical() -> Any:
    """The model as a migration sees it: without methods."""
    executor = MigrationExecutor(connection)
    return executor.loader.project_state().apps.get_model("django_cluster", "Schedule")


WAYS: list[Callable[..., None]] = [
    *(by_update_or_create, by_save, by_save_of_some, by_a_deferred_row, by_update, by_bulk_update),
    *(by_bulk_create, by_sql, by_a_fixture, by_a_migration),
]
each_way = pytest.mark.parametrize("change", WAYS, ids=lambda way: way.__name__)


def make(**columns: Any) -> Schedule:
    return Schedule.objects.create(**{"name": "a", "func": FUNC, **columns})


def in_an_hour() -> datetime:
    return timezone.now().replace(microsecond=0) + HOUR


# ── another rule ─────────────────────────────────────────────────────────────────────────────────


@each_way
def test_another_expression_gives_another_next_run(change: Callable[..., None]) -> None:
    make(schedule_type="C", cron="30 2 1 1 *")

    change(cron="45 3 1 1 *")

    row = Schedule.objects.get()
    assert clock(row.next_run) == "03:45"
    assert row.planned_from.startswith("C||45 3 1 1 *|")


@each_way
def test_more_minutes_or_fewer_are_counted_from_now(change: Callable[..., None]) -> None:
    make(schedule_type="I", minutes=600, next_run=timezone.now() + 600 * timedelta(minutes=1))

    change(minutes=5)

    row = Schedule.objects.get()
    assert row.next_run is not None
    assert timezone.now() < row.next_run <= timezone.now() + timedelta(minutes=5)


@each_way
def test_another_type_gives_another_next_run(change: Callable[..., None]) -> None:
    due = timezone.now().replace(microsecond=0) + 20 * HOUR
    make(schedule_type="D", next_run=due)

    change(schedule_type="H")

    row = Schedule.objects.get()
    assert row.next_run is not None
    assert row.next_run in [due - hours * HOUR for hours in (19, 20)]
    assert timezone.now() < row.next_run


@each_way
def test_from_a_period_to_an_expression(change: Callable[..., None]) -> None:
    make(schedule_type="H", next_run=in_an_hour())

    change(schedule_type="C", cron="45 3 1 1 *")

    assert clock(Schedule.objects.get().next_run) == "03:45"


@needs_time_zones
@each_way
@pytest.mark.parametrize("kind", ["D", "C"])
def test_nine_o_clock_remains_nine_o_clock_in_another_zone(kind: str, change: Callable[..., None]) -> None:
    nine = datetime(2030, 7, 1, 9, tzinfo=AMSTERDAM)
    make(schedule_type=kind, cron="0 9 * * *", next_run=nine, time_zone="Europe/Amsterdam")

    change(time_zone="Asia/Tokyo")

    row = Schedule.objects.get()
    assert row.next_run is not None
    assert (row.next_run + 9 * HOUR).strftime("%H:%M") == "09:00"
    assert row.next_run > timezone.now()
    assert [(run + 9 * HOUR).strftime("%H:%M") for run in row.upcoming(2)] == ["09:00"] * 2


@each_way
def test_what_was_overdue_by_the_old_rule_is_not_fired_by_the_new_one(change: Callable[..., None]) -> None:
    make(schedule_type="C", cron="30 2 1 1 *", next_run=timezone.now() - HOUR)

    change(cron="45 3 1 1 *")

    assert look() == []
    assert clock(Schedule.objects.get().next_run) == "03:45"


@each_way
def test_a_row_that_could_not_be_fired_is_repaired_by_another_rule(change: Callable[..., None]) -> None:
    make(schedule_type="C", cron="30 2 1 1 *")
    Schedule.objects.filter(name="a").update(cron="30 2 31 2 *", next_run=timezone.now() - HOUR)
    look()
    assert "is not valid" in Schedule.objects.get().last_error

    change(cron="45 3 1 1 *")
    look(timezone.now() + 2 * COMPARE_INTERVAL + timedelta(minutes=1))

    row = Schedule.objects.get()
    assert clock(row.next_run) == "03:45"
    assert (row.last_error, row.claimed_until) == ("", None)


@pytest.mark.parametrize("change", [by_update_or_create, by_save, by_save_of_some, by_update, by_bulk_update])
def test_the_error_goes_with_the_rule_at_once(change: Callable[..., None]) -> None:
    make(schedule_type="C", cron="30 2 1 1 *")
    Schedule.objects.filter(name="a").update(cron="30 2 31 2 *", next_run=timezone.now() - HOUR)
    look()

    change(cron="45 3 1 1 *")

    row = Schedule.objects.get()
    assert (row.last_error, row.claimed_until, clock(row.next_run)) == ("", None, "03:45")


@pytest.mark.parametrize("change", [by_update_or_create, by_save, by_save_of_some])
def test_the_error_goes_with_what_caused_it(change: Callable[..., None]) -> None:
    make(schedule_type="H", args="(", next_run=timezone.now())
    look(timezone.now() + timedelta(seconds=1))
    assert Schedule.objects.get().last_error

    change(args="1, 2")

    row = Schedule.objects.get()
    assert (row.last_error, row.claimed_until) == ("", None)
    assert len(look(timezone.now() + timedelta(seconds=1))) == 1


def test_another_anchor_means_other_runs() -> None:
    due = in_an_hour()
    row = make(schedule_type="D", next_run=due)

    row = Schedule.objects.get(pk=row.pk)
    row.anchor = due - 3 * HOUR
    row.save()

    row = Schedule.objects.get()
    assert row.next_run == due + 21 * HOUR


def test_an_expression_that_never_comes_true_is_not_saved() -> None:
    make(schedule_type="C", cron="30 2 1 1 *")

    with pytest.raises(ValueError, match="is not valid"):
        by_update_or_create(cron="30 2 31 2 *")

    assert Schedule.objects.get().cron == "30 2 1 1 *"


# ── what is given, and what is the same ──────────────────────────────────────────────────────────

KEPT_WAYS = [way for way in WAYS if way is not by_a_deferred_row]


@pytest.mark.parametrize("change", KEPT_WAYS, ids=lambda way: way.__name__)
def test_a_next_run_that_is_given_with_the_rule_is_kept(change: Callable[..., None]) -> None:
    make(schedule_type="C", cron="30 2 1 1 *")
    given = in_an_hour() + DAY

    change(cron="45 3 1 1 *", next_run=given)

    assert Schedule.objects.get().next_run == given
    assert clock(Schedule.objects.get().upcoming(2)[1]) == "03:45"


@pytest.mark.parametrize("change", KEPT_WAYS, ids=lambda way: way.__name__)
def test_a_next_run_that_is_given_alone_is_kept_and_the_runs_are_counted_from_it(change: Callable[..., None]) -> None:
    make(schedule_type="D", next_run=in_an_hour())
    given = in_an_hour() + 90 * timedelta(minutes=1)

    change(next_run=given)
    look(given)

    assert Schedule.objects.get().next_run == given + DAY


@each_way
@pytest.mark.parametrize(
    "columns",
    [
        {"schedule_type": "C", "cron": "*/5 * * * *", "minutes": None},
        {"schedule_type": "D", "cron": None, "minutes": None},
        {"schedule_type": "I", "cron": None, "minutes": 7},
    ],
    ids=["cron", "daily", "minutes"],
)
@pytest.mark.parametrize("late", [-HOUR, timedelta(seconds=3)], ids=["to come", "due"])
def test_the_same_rule_again_leaves_the_next_run_alone(
    late: timedelta, columns: dict[str, Any], change: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(next_run=timezone.now().replace(microsecond=0) - late, **columns)
    monkeypatch.setattr(f"{__name__}.look", lambda *_: None)
    before = Schedule.objects.values("next_run", "anchor", "local_next_run", "planned_from").get()

    for _ in range(3):
        change(**columns)

    assert Schedule.objects.values("next_run", "anchor", "local_next_run", "planned_from").get() == before


def test_a_first_run_that_was_put_off_is_still_the_first_run() -> None:
    begin = in_an_hour() + 30 * DAY
    make(schedule_type="D", next_run=begin)

    by_update_or_create(schedule_type="W")

    assert Schedule.objects.get().next_run == begin


def test_once_remains_at_its_time_whatever_else_is_written() -> None:
    due = in_an_hour()
    make(schedule_type="O", next_run=due)

    by_update_or_create(minutes=5, cron="* * * * *")

    assert Schedule.objects.get().next_run == due


def test_an_instance_older_than_the_last_firing_changes_the_rule_and_nothing_else() -> None:
    now = timezone.now()
    make(schedule_type="H", next_run=now - timedelta(seconds=5), repeats=5)
    stale = Schedule.objects.get()
    assert len(look(now)) == 1
    fired = Schedule.objects.get()

    stale.cron, stale.schedule_type = "45 3 1 1 *", "C"
    stale.save(update_fields=["cron", "schedule_type"])

    row = Schedule.objects.get()
    assert clock(row.next_run) == "03:45"
    assert fields(row, "repeats", "task", "runs") == {"repeats": 4, "task": fired.task, "runs": 1}


@pytest.mark.parametrize("change", [by_update_or_create, by_save, by_save_of_some, by_update, by_bulk_update])
def test_a_schedule_that_has_ended_goes_on_when_its_end_is_moved(change: Callable[..., None]) -> None:
    now = timezone.now()
    make(schedule_type="H", next_run=now - 3 * HOUR, ends_at=now - 2 * HOUR)
    look(now)
    look(now)
    assert Schedule.objects.get().next_run is None

    change(ends_at=None)

    row = Schedule.objects.get()
    assert row.next_run is not None
    assert now < row.next_run <= now + HOUR


@pytest.mark.parametrize("change", [by_update_or_create, by_save, by_save_of_some])
def test_a_schedule_that_has_not_begun_follows_its_start(change: Callable[..., None]) -> None:
    start = in_an_hour() + 9 * DAY
    make(schedule_type="D", starts_at=start)
    assert Schedule.objects.get().next_run == start

    change(starts_at=start - 5 * DAY)
    earlier = Schedule.objects.get().next_run
    change(starts_at=start)

    assert earlier == start - 5 * DAY
    assert Schedule.objects.get().next_run == start


# ── rows that nobody has settled ─────────────────────────────────────────────────────────────────


def fixture_of(**columns: Any) -> None:
    values = {"name": "a", "func": FUNC, **columns}
    for loaded in serializers.deserialize("python", [{"model": "django_cluster.schedule", "pk": 7, "fields": values}]):
        loaded.save()


def historical_row(**columns: Any) -> None:
    historical().objects.create(name="a", func=FUNC, **columns)


def historical_rows(**columns: Any) -> None:
    model = historical()
    model.objects.bulk_create([model(name="a", func=FUNC, **columns)])


unsettled = pytest.mark.parametrize("make_row", [fixture_of, historical_row, historical_rows])


@unsettled
@pytest.mark.parametrize("kind", [{}, {"schedule_type": "H"}, {"schedule_type": "I", "minutes": 5}])
def test_a_row_without_a_next_run_is_due(make_row: Callable[..., None], kind: dict[str, Any]) -> None:
    make_row(**kind)

    assert len(look()) == 1

    following = [row.next_run for row in Schedule.objects.all()]
    assert all(run is not None and run > timezone.now() for run in following)
    assert len(look()) == 0


@unsettled
def test_a_cron_row_without_a_next_run_is_due_at_its_next_time(make_row: Callable[..., None]) -> None:
    make_row(schedule_type="C", cron="45 3 1 1 *")

    assert look() == []

    row = Schedule.objects.get()
    assert clock(row.next_run) == "03:45"
    assert (row.local_next_run[4:16], row.last_error) == ("-01-01T03:45", "")


@unsettled
def test_a_row_with_a_next_run_keeps_it(make_row: Callable[..., None]) -> None:
    due = kept(datetime(2030, 7, 1, 9, tzinfo=AMSTERDAM))
    make_row(schedule_type="D", next_run=due)

    assert look() == []

    row = Schedule.objects.get()
    assert (row.next_run, row.anchor, row.local_next_run[:16]) == (due, due, "2030-07-01T09:00")


@unsettled
def test_a_row_with_a_start_waits_for_it_and_one_whose_end_is_over_never_runs(make_row: Callable[..., None]) -> None:
    start = in_an_hour()
    make_row(schedule_type="H", starts_at=start)
    assert look() == []
    assert Schedule.objects.get().next_run == start
    Schedule.objects.all().delete()

    make_row(schedule_type="H", ends_at=timezone.now() - HOUR)

    assert look() == []
    assert Schedule.objects.get().next_run is None


@unsettled
@pytest.mark.parametrize("columns", [{"repeats": 0}, {"enabled": False}])
def test_a_row_that_is_not_to_run_does_not_run(make_row: Callable[..., None], columns: dict[str, Any]) -> None:
    make_row(**columns)

    assert look() == []
    assert Schedule.objects.get().next_run is None


@unsettled
def test_one_that_makes_no_sense_says_so_and_is_in_nobody_s_way(make_row: Callable[..., None]) -> None:
    make_row(schedule_type="C", cron="not an expression")
    Schedule.objects.create(name="sound", func=FUNC)

    assert [package.header.options.group for package in look()] == ["sound"]

    row = Schedule.objects.get(name="a")
    assert "five are needed" in row.last_error


def test_a_scheduler_that_has_been_there_before_finds_them_soon() -> None:
    outbox, now = Outbox(), timezone.now()
    dispatcher = make_dispatcher(outbox)
    dispatcher.fire_due(now)
    fixture_of(schedule_type="H")

    dispatcher.fire_due(now + COMPARE_INTERVAL)

    assert len(outbox) == 1


def test_a_row_that_somebody_has_stopped_by_hand_stays_so() -> None:
    make(schedule_type="H", next_run=in_an_hour())
    Schedule.objects.update(next_run=None)

    assert look() == []
    assert Schedule.objects.get().next_run is None


def test_what_holds_is_not_written_again(django_assert_num_queries: Any) -> None:
    make(schedule_type="D", next_run=in_an_hour())
    make(name="b", schedule_type="C", cron="*/5 * * * *")
    dispatcher, now = make_dispatcher(), timezone.now()

    with django_assert_num_queries(
        5
    ):  # declared rows; other rules in the columns, other rules of zones (two); what is due
        dispatcher.fire_due(now)
    with django_assert_num_queries(1):
        dispatcher.fire_due(now + timedelta(seconds=1))
