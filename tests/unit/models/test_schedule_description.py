"""People read when a schedule runs: in words, and as the next few runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import translation

from django_cluster.models.schedule import Schedule
from tests.datetimes import AMSTERDAM, here, needs_time_zones

DUE = here(2026, 1, 31, 2, 30)


def schedule(**columns: Any) -> Schedule:
    return Schedule(**{"func": "a.b", "next_run": DUE, "time_zone": "Europe/Amsterdam", **columns})


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"schedule_type": "O"}, "once, on Jan. 31, 2026 at 02:30 (Europe/Amsterdam)"),
        ({"schedule_type": "I", "minutes": 1}, "every minute"),
        ({"schedule_type": "I", "minutes": 15}, "every 15 minutes"),
        ({"schedule_type": "H"}, "every hour at minute 30"),
        ({"schedule_type": "D"}, "every day at 02:30 (Europe/Amsterdam)"),
        ({"schedule_type": "W"}, "every Saturday at 02:30 (Europe/Amsterdam)"),
        ({"schedule_type": "BW"}, "every second Saturday at 02:30 (Europe/Amsterdam)"),
        (
            {"schedule_type": "M"},
            "every month on day 31 at 02:30, or on the last day of a shorter month (Europe/Amsterdam)",
        ),
        ({"schedule_type": "Q", "next_run": DUE - timedelta(days=30)}, "every third month on day 1 at 02:30"),
        ({"schedule_type": "BM", "next_run": DUE - timedelta(days=30)}, "every second month on day 1 at 02:30"),
        ({"schedule_type": "Y"}, "every year on January 31 at 02:30 (Europe/Amsterdam)"),
        ({"schedule_type": "C", "cron": "30 2 * * *"}, "at 02:30, every day (Europe/Amsterdam)"),
        ({"schedule_type": "C", "cron": "@daily"}, "at 00:00, every day"),
        ({"schedule_type": "C", "cron": "0 9,17 * * mon-fri"}, "at 09:00 and 17:00, on Monday to Friday"),
        ({"schedule_type": "C", "cron": "*/5 * * * *"}, "every 5 minutes, every day"),
        ({"schedule_type": "C", "cron": "* * * * 0,7"}, "every minute, on Sunday (Europe/Amsterdam)"),
        ({"schedule_type": "C", "cron": "7 * * * *"}, "every hour at minute 7, every day"),
        ({"schedule_type": "C", "cron": "0 */2 * * *"}, "every 2 hours, at minute 0, every day"),
        ({"schedule_type": "C", "cron": "0 0 1 jan,7 *"}, "at 00:00, on day 1 of the month, in January and July"),
        ({"schedule_type": "C", "cron": "0 0 13 * fri"}, "at 00:00, on day 13 of the month or on Friday"),
        ({"schedule_type": "C", "cron": "5-10 8-10 * * *"}, "at minute 5-10 of the hours 8-10, every day"),
        ({"schedule_type": "C", "cron": "nonsense"}, "whenever nonsense comes true"),
        ({"schedule_type": "Z"}, "Z (Europe/Amsterdam)"),
    ],
)
def test_the_rule_is_said_in_words(columns: dict[str, Any], words: str) -> None:
    if not settings.USE_TZ:
        words = words.removesuffix(" (Europe/Amsterdam)")
    assert schedule(**columns).describe().startswith(words)


@needs_time_zones
def test_a_zone_that_does_not_exist_is_named() -> None:
    assert schedule(schedule_type="D", time_zone="Mars/Olympus").describe().startswith("'Mars/Olympus' is not a time")


def test_the_words_are_in_the_language_of_the_reader() -> None:
    with translation.override("de"):
        assert "Samstag" in schedule(schedule_type="W").describe()


@needs_time_zones
def test_a_schedule_without_a_zone_of_its_own_is_told_in_that_of_the_project() -> None:
    row = schedule(schedule_type="D", time_zone=None)

    with override_settings(Q_CLUSTER={"time_zone": "Asia/Kathmandu"}):
        assert row.describe() == "every day at 07:15 (Asia/Kathmandu)"
        assert row.upcoming(2) == [DUE, DUE + timedelta(days=1)]
    assert row.describe(AMSTERDAM) == "every day at 02:30 (Europe/Amsterdam)"


@needs_time_zones
def test_the_next_runs_are_told_as_the_clock_on_the_wall_shows_them() -> None:
    row = schedule(schedule_type="D", next_run=here(2026, 3, 28, 2, 30))

    shown = [each.astimezone(AMSTERDAM).strftime("%d %H:%M") for each in row.upcoming(3)]

    assert shown == ["28 02:30", "29 03:00", "30 02:30"]


@pytest.mark.parametrize(
    ("columns", "count"),
    [
        ({}, 5),
        ({"repeats": 2}, 2),
        ({"repeats": 0}, 0),
        ({"next_run": None}, 0),
        ({"ends_at": DUE + timedelta(days=2)}, 3),
        ({"ends_at": DUE - timedelta(days=2)}, 0),
        ({"schedule_type": "O"}, 1),
        ({"schedule_type": "I", "minutes": None}, 1),
        ({"schedule_type": "Z"}, 1),
    ],
)
def test_no_more_runs_are_told_than_there_will_be(columns: dict[str, Any], count: int) -> None:
    assert len(schedule(**{"schedule_type": "D", **columns}).upcoming(5)) == count


def test_the_first_run_told_is_not_before_the_start() -> None:
    row = schedule(schedule_type="D", starts_at=DUE + timedelta(days=10, hours=1))

    assert row.upcoming(1) == [DUE + timedelta(days=11)]


def test_the_zone_of_a_schedule_means_nothing_without_time_zones() -> None:
    with override_settings(USE_TZ=False):
        naive = Schedule(func="a.b", schedule_type="D", next_run=datetime(2026, 1, 31, 2, 30))  # noqa: DTZ001

        assert naive.describe() == "every day at 02:30"
        assert naive.upcoming(2)[1] == datetime(2026, 2, 1, 2, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", "jede Minute, täglich"),
        ("ru", "раз в 1 минуту, каждый день"),
        ("zh-hans", "每 1 分钟, 每天"),
    ],
)
def test_a_language_without_a_singular_says_the_number(language: str, words: str) -> None:
    with translation.override(language):
        assert schedule(schedule_type="C", cron="* * * * *").describe().startswith(words)
