"""Schedules come due when people expect it: through changed clocks, short months and odd zones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.core import cron
from django_cluster.core.recurrence import BUILT_IN, Daily, Recurrence, recurrence, register, types
from tests.examples import examples

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
ZONES = [
    *("Europe/Amsterdam", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata"),
    *("Asia/Kathmandu", "Pacific/Apia", "Pacific/Chatham", "Africa/Casablanca", "America/Sao_Paulo", "UTC"),
]


def rule(code: str, anchor: datetime, **more: Any) -> Recurrence:
    return recurrence(code, anchor=anchor, **more)


def local(text: str, tz: tzinfo | None = AMSTERDAM, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=tz, fold=fold)


def runs(schedule: Recurrence, after: datetime, tz: tzinfo | None) -> Iterator[datetime]:
    while (due := schedule.next_after(after, tz)) is not None:
        yield due
        after = due


def shown(schedule: Recurrence, after: str, count: int, tz: tzinfo | None = AMSTERDAM) -> list[str]:
    """The next runs in local time."""
    found = islice(runs(schedule, local(after, tz), tz), count)
    return [(due if tz is None else due.astimezone(tz)).strftime("%Y-%m-%d %H:%M") for due in found]


@pytest.mark.parametrize(
    ("code", "anchor", "expected"),
    [
        ("I", "2026-01-01 00:00", ["2026-01-01 00:07", "2026-01-01 00:14", "2026-01-01 00:21"]),
        ("H", "2026-01-01 00:20", ["2026-01-01 01:20", "2026-01-01 02:20", "2026-01-01 03:20"]),
        ("D", "2026-02-27 08:00", ["2026-02-28 08:00", "2026-03-01 08:00", "2026-03-02 08:00"]),
        ("W", "2026-01-01 08:00", ["2026-01-08 08:00", "2026-01-15 08:00", "2026-01-22 08:00"]),
        ("BW", "2026-01-01 08:00", ["2026-01-15 08:00", "2026-01-29 08:00", "2026-02-12 08:00"]),
        ("M", "2026-01-31 08:00", ["2026-02-28 08:00", "2026-03-31 08:00", "2026-04-30 08:00", "2026-05-31 08:00"]),
        ("BM", "2026-12-31 08:00", ["2027-02-28 08:00", "2027-04-30 08:00", "2027-06-30 08:00", "2027-08-31 08:00"]),
        ("Q", "2026-11-30 08:00", ["2027-02-28 08:00", "2027-05-30 08:00", "2027-08-30 08:00"]),
        ("Y", "2028-02-29 08:00", ["2029-02-28 08:00", "2030-02-28 08:00", "2031-02-28 08:00", "2032-02-29 08:00"]),
    ],
)
@pytest.mark.parametrize("tz", [AMSTERDAM, None], ids=["with a zone", "naive"])
def test_each_type_steps_by_its_period(code: str, anchor: str, expected: list[str], tz: tzinfo | None) -> None:
    schedule = rule(code, local(anchor, tz), minutes=7)

    assert shown(schedule, anchor, len(expected), tz) == expected


def test_a_daily_run_in_the_gap_of_spring_is_late_once_and_then_back_at_its_time() -> None:
    schedule = rule("D", local("2026-03-01 02:30"))

    assert shown(schedule, "2026-03-27 12:00", 4) == [
        *("2026-03-28 02:30", "2026-03-29 03:00", "2026-03-30 02:30", "2026-03-31 02:30")
    ]


def test_a_daily_run_in_the_repeated_hour_of_autumn_happens_once_the_first_time() -> None:
    schedule = rule("D", local("2026-10-01 02:30"))

    found = list(islice(runs(schedule, local("2026-10-24 12:00"), AMSTERDAM), 3))

    assert found == [local(f"2026-10-{day} 02:30").astimezone(UTC) for day in (25, 26, 27)]
    assert found[0].isoformat() == "2026-10-25T00:30:00+00:00"


def test_a_daily_run_that_stepped_over_the_gap_returns_also_when_each_step_is_saved() -> None:
    due = local("2026-03-28 02:30").astimezone(UTC)
    anchor = due

    for _ in range(3):
        schedule = rule("D", anchor).anchored_at(due, AMSTERDAM)
        anchor = schedule.anchor
        due = schedule.next_after(due, AMSTERDAM) or due

    assert due == local("2026-03-31 02:30").astimezone(UTC)


def test_the_first_of_the_month_stays_the_first_where_it_is_another_day_in_utc() -> None:
    schedule = rule("M", local("2026-01-01 00:30"))

    assert shown(schedule, "2026-02-15 00:00", 3) == ["2026-03-01 00:30", "2026-04-01 00:30", "2026-05-01 00:30"]


def test_a_day_that_a_zone_skipped_runs_at_the_first_moment_after_it() -> None:
    apia = ZoneInfo("Pacific/Apia")
    schedule = rule("D", local("2011-12-28 12:00", apia))

    assert shown(schedule, "2011-12-29 12:00", 3, apia) == ["2011-12-31 00:00", "2011-12-31 12:00", "2012-01-01 12:00"]


def test_minutes_count_elapsed_time_through_both_changes_of_the_clock() -> None:
    schedule = rule("I", local("2026-03-28 00:00"), minutes=30)

    for start in ("2026-03-28 20:00", "2026-10-24 20:00"):
        found = list(islice(runs(schedule, local(start), AMSTERDAM), 24))

        assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=30)}


def test_a_next_run_off_the_grid_is_the_new_anchor() -> None:
    schedule = rule("M", local("2026-01-31 08:00"))

    assert schedule.anchored_at(local("2026-02-28 08:00"), AMSTERDAM) is schedule
    assert schedule.anchored_at(local("2026-02-27 08:00"), AMSTERDAM).anchor == local("2026-02-27 08:00")


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("30 2 * * *", "2026-03-28 12:00", ["2026-03-29 03:00", "2026-03-30 02:30"]),
        ("0,30 2 * * *", "2026-03-28 12:00", ["2026-03-29 03:00", "2026-03-30 02:00"]),
        ("30 2 * * *", "2026-10-24 12:00", ["2026-10-25 02:30", "2026-10-26 02:30"]),
        ("@daily", "2026-10-24 12:00", ["2026-10-25 00:00", "2026-10-26 00:00"]),
        ("0 0 29 2 *", "2026-01-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 9 * * 1-5", "2026-11-20 09:00", ["2026-11-23 09:00", "2026-11-24 09:00"]),
        ("0 9 * * 0", "2026-11-20 09:00", ["2026-11-22 09:00", "2026-11-29 09:00"]),
        ("@hourly", "2026-03-29 01:00", ["2026-03-29 03:00", "2026-03-29 04:00"]),
        ("30 * * * *", "2026-03-29 01:00", ["2026-03-29 01:30", "2026-03-29 03:30"]),
    ],
)
def test_a_cron_expression_follows_the_clock_on_the_wall(expression: str, after: str, expected: list[str]) -> None:
    schedule = rule("C", local("2026-01-01 00:00"), cron=expression)

    assert shown(schedule, after, len(expected)) == expected


@pytest.mark.parametrize(("expression", "minutes"), [("*/15 * * * *", 15), ("@hourly", 60), ("7 * * * *", 60)])
@pytest.mark.parametrize("start", ["2026-03-28 20:00", "2026-10-24 20:00"])
def test_a_cron_of_every_hour_runs_in_the_repeated_hour_too(expression: str, minutes: int, start: str) -> None:
    schedule = rule("C", local(start), cron=expression)

    found = list(islice(runs(schedule, local(start), AMSTERDAM), 40))

    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=minutes)}


def test_a_cron_without_zones_follows_the_naive_clock() -> None:
    schedule = rule("C", datetime(2026, 1, 1), cron="30 2 * * *")  # noqa: DTZ001  naive on purpose

    assert shown(schedule, "2026-03-28 12:00", 2, None) == ["2026-03-29 02:30", "2026-03-30 02:30"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "needs an expression"),
        ("* * * * * *", "has 6 fields; five are needed"),
        ("* * * *", "has 4 fields; five are needed"),
        ("0 0 31 2 *", "is not valid"),
        ("0 0 30 2 *", "is not valid"),
        ("61 * * * *", "is not valid"),
        ("0 0 * * someday", "is not valid"),
        ("*/0 * * * *", "is not valid"),
        ("1,,2 * * * *", "is not valid"),
        ("@reboot", "is not one of the words"),
        ("R R * * *", "random time"),
    ],
)
def test_an_expression_that_cannot_come_true_is_refused_in_a_sentence(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rule("C", local("2026-01-01 00:00"), cron=expression).check()


@pytest.mark.parametrize("text", ["@daily", "0 0 * * *"])
def test_blanks_around_an_expression_mean_nothing(text: str) -> None:
    assert shown(rule("C", local("2026-01-01"), cron=f" {text}\n"), "2026-01-01 08:00", 1) == ["2026-01-02 00:00"]
    rule("C", local("2026-01-01"), cron=f" {text}\n").check()


def test_the_names_of_months_are_no_random_times() -> None:
    rule("C", local("2026-01-01 00:00"), cron="0 0 * mar-apr thu").check()


def test_without_croniter_a_cron_schedule_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for remembered in (cron._croniter, cron._error_in):
        remembered.cache_clear()
    monkeypatch.setitem(sys.modules, "croniter", None)

    with pytest.raises(ImportError, match=r"django-cluster\[cron\]"):
        rule("C", local("2026-01-01 00:00"), cron="@daily").check()


@pytest.mark.parametrize("minutes", [None, 0, -5])
def test_minutes_without_a_number_are_refused(minutes: int | None) -> None:
    with pytest.raises(ValueError, match="needs a number of minutes"):
        rule("I", local("2026-01-01 00:00"), minutes=minutes).check()


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'Z' is not a schedule type; known are O, I, H"):
        rule("Z", local("2026-01-01 00:00"))


def test_a_type_is_registered_once() -> None:
    class Impostor(Daily):
        pass

    with pytest.raises(ValueError, match="'D' is taken by Daily"):
        register(Impostor)
    assert register(Daily) is Daily
    assert types()[: len(BUILT_IN)] == BUILT_IN


MOMENTS = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001  hypothesis wants naive bounds
    max_value=datetime(2040, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(second=0, microsecond=0))
CRONS = st.sampled_from(
    ["*/5 * * * *", "0 * * * *", "30 2 * * *", "15,45 1-3 * * *", "0 0 1 * *", "59 23 31 12 *", "5 */2 * * 1-5"]
)


@settings(max_examples=examples(150), deadline=None)
@given(
    st.sampled_from([kind.code for kind in BUILT_IN if kind.code != "O"]),
    MOMENTS,
    st.timedeltas(timedelta(days=-800), timedelta(days=800)),
    st.sampled_from(ZONES).map(ZoneInfo),
    st.integers(1, 2000),
    CRONS,
)
def test_runs_are_the_same_whether_one_steps_through_them_or_asks_in_between(
    code: str, anchor: datetime, distance: timedelta, tz: ZoneInfo, minutes: int, expression: str
) -> None:
    schedule = rule(code, anchor, minutes=minutes, cron=expression)

    found = list(islice(runs(schedule, anchor + distance, tz), 25))

    for earlier, later in pairwise(found):
        assert earlier < later
        for share in (0.0, 0.3, 0.999):
            assert schedule.next_after(earlier + (later - earlier) * share, tz) == later
        assert schedule.includes(later, tz)


@settings(max_examples=examples(100), deadline=None)
@given(MOMENTS, st.sampled_from(ZONES).map(ZoneInfo), st.sampled_from(["D", "C"]))
def test_a_daily_time_runs_exactly_once_on_every_day_of_a_year(anchor: datetime, tz: ZoneInfo, code: str) -> None:
    wall = anchor.astimezone(tz).replace(tzinfo=None)
    schedule = rule(code, anchor, cron=f"{wall.minute} {wall.hour} * * *")

    found = [due.astimezone(tz) for due in islice(runs(schedule, anchor - timedelta(minutes=1), tz), 370)]

    on_time = sum((due.hour, due.minute) == (wall.hour, wall.minute) for due in found)
    assert on_time >= len(found) - 3
    days = [due.date() for due in found]
    assert len(days) - len(set(days)) <= 1  # Samoa skipped a whole day, and ran it with the next one


PERIODS = {"D": ("days", 1), "W": ("days", 7), "BW": ("days", 14), "C": ("days", 1)} | {
    code: ("months", count) for code, count in [("M", 1), ("BM", 2), ("Q", 3), ("Y", 12)]
}


def is_meant(day: date, first: date, code: str) -> bool:
    """Whether there is a run on this day, said without any arithmetic of periods."""
    unit, count = PERIODS[code]
    if unit == "days":
        return (day - first).days % count == 0
    is_last = (day + timedelta(days=1)).day == 1
    months = (day.year - first.year) * 12 + day.month - first.month
    return months % count == 0 and (day.day == first.day or (is_last and first.day > day.day))


def first_shown(wall: datetime, tz: ZoneInfo) -> datetime:
    """When the clock first shows this time or, where it leaps over it, a later one: tried minute by minute."""
    moment = wall.replace(tzinfo=tz).astimezone(UTC)
    while moment.astimezone(tz).replace(tzinfo=None) != wall:
        before = (moment - timedelta(minutes=1)).astimezone(tz).replace(tzinfo=None)
        if before < wall < moment.astimezone(tz).replace(tzinfo=None):
            return moment
        moment -= timedelta(minutes=1)
    return moment


@settings(max_examples=examples(60), deadline=None)
@given(MOMENTS, st.sampled_from(sorted(available_timezones())).map(ZoneInfo), st.sampled_from(sorted(PERIODS)))
def test_no_run_of_years_is_skipped_or_doubled_in_any_zone(anchor: datetime, tz: ZoneInfo, code: str) -> None:
    wall = anchor.astimezone(tz).replace(tzinfo=None, fold=0)
    anchor = wall.replace(tzinfo=tz).astimezone(UTC)  # of a time that is shown twice, the first
    days = [wall.date() + timedelta(days=number) for number in range(3 * 366)]
    meant = [first_shown(datetime.combine(day, wall.time()), tz) for day in days if is_meant(day, wall.date(), code)]
    expected = sorted(set(meant))  # where a zone left a day out, two runs may be the same moment
    schedule = rule(code, anchor, cron=f"{wall.minute} {wall.hour} * * *")

    found = list(islice(runs(schedule, anchor - timedelta(minutes=1), tz), len(expected)))

    assert found == expected


CHANGES = st.sampled_from([(2026, 3, 7), (2026, 3, 28), (2026, 4, 4), (2026, 10, 3), (2026, 10, 24), (2026, 10, 31)])


@settings(max_examples=examples(60), deadline=None)
@given(CHANGES, st.integers(0, 24 * 60), st.sampled_from(ZONES).map(ZoneInfo))
def test_an_expression_for_every_quarter_misses_and_doubles_nothing_around_a_change(
    day: tuple[int, int, int], minute: int, tz: ZoneInfo
) -> None:
    begin = datetime(*day, tzinfo=UTC) + timedelta(minutes=minute)
    expected = [
        moment
        for moment in (begin + timedelta(minutes=each) for each in range(1, 2 * 24 * 60))
        if moment.astimezone(tz).minute in {0, 15, 30, 45}
    ]
    schedule = rule("C", begin, cron="*/15 * * * *")

    assert list(islice(runs(schedule, begin, tz), len(expected))) == expected
