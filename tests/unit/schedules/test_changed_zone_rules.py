"""A zone gets new rules, another name, or is gone: a daily run of 09:00 remains one of 09:00."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings import ScheduleSettings
from django_cluster.models.schedule import Schedule
from django_cluster.schedules.creation import build_schedule
from django_cluster.schedules.dispatcher import ScheduleDispatcher
from tests.datetimes import needs_time_zones, utc
from tests.sample import tasks
from tests.zones import ALWAYS_SUMMER, HALF_AN_HOUR, NAME, NO_SUMMER, SUMMER, Zone, made_up_zone

pytestmark = [pytest.mark.django_db, needs_time_zones]

BEFORE = utc(2027, 6, 8, 12)
"""Before the rules change, a Tuesday in summer."""


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    with made_up_zone(tmp_path) as made:
        made.has_rules(SUMMER)
        yield made


class Outbox(list[TaskPackage]):
    def __call__(self, packages: Sequence[TaskPackage]) -> None:
        self.extend(packages)

    @property
    def times(self) -> list[datetime]:
        """For which moments the runs were meant."""
        return [datetime.fromisoformat(package.kwargs["when"]) for package in self]


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def make_dispatcher(outbox: Outbox, zone: str | None = "Europe/Amsterdam", **more: Any) -> ScheduleDispatcher:
    """What a scheduler has when it is started."""
    section = ScheduleSettings(time_zone=zone, **more)
    return ScheduleDispatcher(section, queue="tests", is_default=True, send=outbox, broker_database="default")


def make_schedule(next_run: datetime | None, *, zone: str | None = NAME, **more: Any) -> Schedule:
    if zone:
        more["q_options"] = {"time_zone": zone}
    return build_schedule(tasks.echo, next_run=next_run, intended_date_kwarg="when", **more)


def run_for(outbox: Outbox, begin: datetime, days: int, dispatcher: ScheduleDispatcher | None = None) -> list[datetime]:
    """What a scheduler that is started then fires. It looks whenever a row says that it is due, and every third day."""
    dispatcher, sent = dispatcher or make_dispatcher(outbox), len(outbox)
    now, end = begin, begin + timedelta(days=days)
    while now < end:
        dispatcher.fire_due(now)
        later = Schedule.objects.filter(next_run__gt=now).order_by("next_run").values_list("next_run", flat=True)
        now = min(filter(None, [later.first(), now + timedelta(days=3)]))
    return outbox.times[sent:]


NINE_IN_SUMMER, NINE_IN_WINTER = utc(2027, 6, 9, 7), utc(2027, 6, 9, 8)

RULES: dict[str, tuple[dict[str, Any], datetime, int, list[int]]] = {
    # The rule, its first run, for how many days to look, and the days of June and July on which it runs.
    "daily": ({"schedule_type": "D"}, NINE_IN_SUMMER, 3, [9, 10, 11]),
    "weekly": ({"schedule_type": "W"}, NINE_IN_SUMMER, 16, [9, 16, 23]),
    "monthly": ({"schedule_type": "M"}, NINE_IN_SUMMER, 32, [9, 9]),
    "cron": ({"schedule_type": "C", "cron": "0 9 * * *"}, NINE_IN_SUMMER, 3, [9, 10, 11]),
    "cron, some days": ({"schedule_type": "C", "cron": "0 9 9,10 * *"}, NINE_IN_SUMMER, 3, [9, 10]),
}


@pytest.mark.parametrize("case", RULES)
def test_nine_o_clock_remains_nine_o_clock_when_a_zone_loses_its_summer_time(
    case: str, zone: Zone, outbox: Outbox
) -> None:
    rule, first, days, runs = RULES[case]
    row = make_schedule(first, **rule)
    zone.has_rules(NO_SUMMER)

    found = run_for(outbox, BEFORE, days)

    assert [(each.day, each.hour, each.minute) for each in found] == [(day, 8, 0) for day in runs]
    row.refresh_from_db()
    assert row.next_run is not None
    assert row.next_run.hour == 8


@pytest.mark.parametrize("case", RULES)
def test_a_zone_that_gains_an_hour_costs_no_run(case: str, zone: Zone, outbox: Outbox) -> None:
    rule, first, days, runs = RULES[case]
    zone.has_rules(NO_SUMMER)
    make_schedule(first + timedelta(hours=1), **rule)
    zone.has_rules(ALWAYS_SUMMER)

    found = run_for(outbox, BEFORE, days)

    assert [(each.day, each.hour, each.minute) for each in found] == [(day, 7, 0) for day in runs]


def test_a_run_that_would_have_been_earlier_today_is_late_and_not_lost(zone: Zone, outbox: Outbox) -> None:
    zone.has_rules(NO_SUMMER)
    make_schedule(NINE_IN_WINTER, schedule_type="D")
    zone.has_rules(ALWAYS_SUMMER)

    found = run_for(outbox, NINE_IN_SUMMER + timedelta(minutes=30), 1)

    assert found == [NINE_IN_SUMMER, NINE_IN_SUMMER + timedelta(days=1)]


def test_a_row_that_is_due_is_compared_by_a_scheduler_that_has_been_there_before(zone: Zone, outbox: Outbox) -> None:
    dispatcher = make_dispatcher(outbox)
    dispatcher.fire_due(BEFORE)
    make_schedule(NINE_IN_SUMMER, schedule_type="D")
    zone.has_rules(NO_SUMMER)

    found = run_for(outbox, BEFORE, 2, dispatcher)

    assert found == [NINE_IN_WINTER, NINE_IN_WINTER + timedelta(days=1)]


def test_a_schedule_that_runs_already_follows_the_new_rules_after_a_restart(zone: Zone, outbox: Outbox) -> None:
    make_schedule(NINE_IN_SUMMER, schedule_type="D")
    before = run_for(outbox, BEFORE, 3)
    zone.has_rules(NO_SUMMER)

    after = run_for(outbox, BEFORE + timedelta(days=3), 2)

    assert [each.hour for each in before] == [7, 7, 7]
    assert after == [NINE_IN_WINTER + timedelta(days=3), NINE_IN_WINTER + timedelta(days=4)]


def test_the_zone_of_the_settings_may_have_new_rules(zone: Zone, outbox: Outbox) -> None:
    make_schedule(NINE_IN_SUMMER, zone=None, schedule_type="D")
    run_for(outbox, BEFORE, 1, make_dispatcher(outbox, NAME))
    zone.has_rules(NO_SUMMER)

    found = run_for(outbox, BEFORE + timedelta(days=1), 1, make_dispatcher(outbox, NAME))

    assert found == [NINE_IN_WINTER + timedelta(days=1)]


@pytest.mark.parametrize("rule", [{"schedule_type": "D"}, {"schedule_type": "C", "cron": "30 2 * * *"}])
def test_a_run_in_the_gap_of_the_old_rules_takes_place_at_its_own_time(
    rule: dict[str, Any], zone: Zone, outbox: Outbox
) -> None:
    """By the old rules, 02:30 was to be skipped on 28 March 2027, and the run to be at 03:00, 01:00 in Greenwich."""
    make_schedule(utc(2027, 3, 27, 1, 30), **rule)
    run_for(outbox, utc(2027, 3, 27), 1)
    expected = Schedule.objects.get().next_run
    zone.has_rules(NO_SUMMER)

    found = run_for(outbox, utc(2027, 3, 28), 2)

    assert expected == utc(2027, 3, 28, 1)
    assert found == [utc(2027, 3, 28, 1, 30), utc(2027, 3, 29, 1, 30)]


@pytest.mark.parametrize("rule", [{"schedule_type": "I", "minutes": 60}, {"schedule_type": "H"}])
def test_elapsed_time_does_not_care(rule: dict[str, Any], zone: Zone, outbox: Outbox) -> None:
    make_schedule(NINE_IN_SUMMER, **rule)
    zone.has_rules(HALF_AN_HOUR)

    found = run_for(outbox, NINE_IN_SUMMER, 1)

    assert found == [NINE_IN_SUMMER + timedelta(hours=hours) for hours in range(24)]


def test_a_cron_expression_for_every_hour_goes_on_with_the_clock(zone: Zone, outbox: Outbox) -> None:
    make_schedule(NINE_IN_SUMMER, schedule_type="C", cron="0 * * * *")
    zone.has_rules(HALF_AN_HOUR)

    found = run_for(outbox, NINE_IN_SUMMER, 1)

    assert found == [NINE_IN_SUMMER + timedelta(hours=hours, minutes=30) for hours in range(24)]


def test_once_is_a_moment(zone: Zone, outbox: Outbox) -> None:
    make_schedule(NINE_IN_SUMMER, schedule_type="O")
    zone.has_rules(NO_SUMMER)

    assert run_for(outbox, BEFORE, 2) == [NINE_IN_SUMMER]


def test_the_31st_remains_the_31st(zone: Zone, outbox: Outbox) -> None:
    """Whose anchor is a moment of the old rules: 31 May, 00:30, is 30 May, 23:30, on the new clock."""
    make_schedule(utc(2027, 5, 30, 22, 30), schedule_type="M")
    run_for(outbox, utc(2027, 5, 30, 22), 1)
    zone.has_rules(NO_SUMMER)

    found = run_for(outbox, BEFORE, 55)

    assert found == [utc(2027, 6, 29, 23, 30), utc(2027, 7, 30, 23, 30)]
    assert "day 31 at 00:30" in Schedule.objects.get().describe()


def test_what_is_shown_follows_the_new_rules_at_once(zone: Zone) -> None:
    row = make_schedule(NINE_IN_SUMMER, schedule_type="D")
    zone.has_rules(NO_SUMMER)

    row = Schedule.objects.get(pk=row.pk)

    assert row.upcoming(2) == [NINE_IN_WINTER, NINE_IN_WINTER + timedelta(days=1)]
    assert row.calculate_next_run() == NINE_IN_WINTER + timedelta(days=1)
    assert "09:00" in row.describe()


def test_saving_a_row_does_not_make_the_old_moment_the_rule(zone: Zone, outbox: Outbox) -> None:
    make_schedule(NINE_IN_SUMMER, schedule_type="D")
    zone.has_rules(NO_SUMMER)

    row = Schedule.objects.get()
    row.name = "another name"
    row.save()

    assert Schedule.objects.get().next_run == NINE_IN_WINTER
    assert run_for(outbox, BEFORE, 1) == [NINE_IN_WINTER]


def test_a_zone_that_is_gone_parks_its_rows_and_no_other(zone: Zone, outbox: Outbox) -> None:
    lost = make_schedule(NINE_IN_SUMMER, schedule_type="D", name="lost")
    make_schedule(NINE_IN_SUMMER, zone=None, schedule_type="D", name="sound")
    zone.is_gone()

    found = run_for(outbox, BEFORE, 1)

    lost.refresh_from_db()
    assert found == [NINE_IN_SUMMER]
    assert lost.last_error == f"{NAME!r} is not a time zone; give a name such as 'Europe/Amsterdam'."
    assert lost.upcoming() == []
    assert lost.describe() == lost.last_error


def test_a_zone_that_comes_back_under_another_name_keeps_nine_o_clock(zone: Zone, outbox: Outbox) -> None:
    later = timezone.now() + timedelta(days=300)
    nine = datetime(later.year, later.month, later.day, 7, tzinfo=UTC)
    lost = make_schedule(nine, schedule_type="D")
    zone.is_gone()
    run_for(outbox, nine, 1)
    lost.refresh_from_db()
    assert lost.last_error

    lost.time_zone = "Etc/GMT-3"
    lost.save()

    assert lost.last_error == ""
    assert lost.next_run is not None
    assert lost.next_run.astimezone(UTC).strftime("%H:%M") == "06:00"
