"""Values of options: what is refused, and what travels."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from django.utils import timezone as django_timezone

from django_cluster.core.call_options import KEYWORDS, ONLY_IN_Q_OPTIONS
from django_cluster.core.messages import DEFAULT_OPTIONS, NO_TIMEOUT
from django_cluster.core.option_values import REFUSED_OPTIONS, build_options
from django_cluster.core.time import LocalTime
from django_cluster.errors import UnknownFunction
from tests.sample import hooks


def test_no_options_are_the_default_options() -> None:
    assert build_options({}) is DEFAULT_OPTIONS


def test_an_option_of_none_is_as_the_settings_say() -> None:
    assert build_options(dict.fromkeys(KEYWORDS | ONLY_IN_Q_OPTIONS)) == DEFAULT_OPTIONS


@pytest.mark.parametrize(
    ("given", "limit"),
    [(5, 5.0), (0.25, 0.25), (timedelta(minutes=2), 120.0), (-1, NO_TIMEOUT), (0, NO_TIMEOUT), (-1.5, NO_TIMEOUT)],
)
def test_a_timeout_is_any_duration_and_minus_one_is_no_limit(given: float | timedelta, limit: float) -> None:
    assert build_options({"timeout": given}).timeout == limit


@pytest.mark.parametrize("option", ["timeout", "retry_delay", "delay"])
@pytest.mark.parametrize("nonsense", ["5", True, [5], math.nan, math.inf, -math.inf], ids=repr)
def test_a_duration_that_is_none_is_refused_at_the_door(option: str, nonsense: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        build_options({option: nonsense})


@pytest.mark.parametrize("option", ["retry_delay", "delay"])
def test_a_delay_cannot_be_negative(option: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        build_options({option: -1})


def test_a_delay_counts_from_now() -> None:
    before = time.time()

    moment = build_options({"delay": timedelta(hours=1)}).not_before

    assert moment is not None
    assert before + 3600 <= moment <= time.time() + 3600


def test_an_eta_is_the_moment_itself_in_whatever_zone() -> None:
    utc = datetime(2026, 3, 1, 12, tzinfo=UTC)

    assert build_options({"eta": utc}).not_before == utc.timestamp()
    assert build_options({"eta": utc.astimezone(timezone(timedelta(hours=5)))}).not_before == utc.timestamp()


def test_a_hook_may_be_a_function_or_its_path() -> None:
    assert build_options({"hook": hooks.note}).hook == "tests.sample.hooks.note"
    assert build_options({"hook": "app.hooks.tell"}).hook == "app.hooks.tell"


def test_a_hook_that_nobody_could_find_is_refused_at_the_door() -> None:
    with pytest.raises(UnknownFunction):
        build_options({"hook": lambda task: task})


@pytest.mark.parametrize("cached", [True, False, 60])
def test_cached_is_a_choice_or_a_number_of_seconds(cached: bool | int) -> None:
    found = build_options({"cached": cached}).cached

    assert found == cached
    assert type(found) is type(cached)


@pytest.mark.parametrize("priority", [101, -101, 1.5, True, "high"])
def test_a_priority_out_of_range_is_refused(priority: object) -> None:
    with pytest.raises(ValueError, match="-100 to 100"):
        build_options({"priority": priority})


@pytest.mark.parametrize("runs", [-1, True, 1.5, "3"])
def test_max_attempts_that_is_no_number_of_runs_is_refused(runs: object) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        build_options({"max_attempts": runs})


@pytest.mark.parametrize("option", ["group", "queue"])
def test_a_name_that_no_column_could_hold_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match="100"):
        build_options({option: "x" * 101})


@pytest.mark.parametrize("option", sorted(REFUSED_OPTIONS))
def test_an_option_that_belongs_elsewhere_says_where(option: str) -> None:
    with pytest.raises(TypeError, match=option):
        build_options({option: [("a.b", (1,))]})


@pytest.mark.parametrize("option", sorted(REFUSED_OPTIONS))
def test_an_option_that_belongs_elsewhere_may_be_given_as_not_wanted(option: str) -> None:
    assert build_options({option: None}) == DEFAULT_OPTIONS


# ── values without bounds ────────────────────────────────────────────────────────────────────────

YEARS = 3_155_760_000


@pytest.mark.parametrize("option", ["timeout", "delay", "retry_delay", "cached"])
@pytest.mark.parametrize(
    "value", [timedelta.max, 1e12, 10**400, 10**6000, YEARS + 1, 1e308], ids=lambda v: str(type(v))
)
def test_no_duration_is_longer_than_a_hundred_years(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"The option '{option}': a duration is at most {YEARS} seconds"):
        build_options({option: value})
    build_options({option: YEARS})


@pytest.mark.parametrize("option", ["max_attempts", "priority"])
@pytest.mark.parametrize("value", [2**31, 10**6000, math.nan, math.inf], ids=["2**31", "10**6000", "nan", "inf"])
def test_a_number_without_bounds_is_refused_in_a_sentence(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match="from "):
        build_options({option: value})


@pytest.mark.parametrize(
    ("eta", "words"),
    [
        (datetime(9999, 12, 31, 23, 59), r"beyond the calendar|after the year 9999"),  # noqa: DTZ001
        (datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12))), "after the year 9999"),
        (1e12, "beyond the calendar"),
        (10**6000, "beyond the calendar"),
        (math.nan, "beyond the calendar"),
        (math.inf, "beyond the calendar"),
    ],
    ids=["max", "max west", "1e12", "10**6000", "nan", "inf"],
)
def test_an_eta_beyond_the_calendar_is_refused(eta: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_options({"eta": eta})


@pytest.mark.parametrize("eta", ["tomorrow", True, timedelta(1), [1]])
def test_an_eta_that_is_no_moment_is_refused(eta: Any) -> None:
    with pytest.raises(TypeError, match="The option 'eta': a datetime or a Unix time"):
        build_options({"eta": eta})


# ── naive times ──────────────────────────────────────────────────────────────────────────────────

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


@pytest.fixture
def in_amsterdam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalTime, "zone", staticmethod(lambda: AMSTERDAM))


@pytest.mark.usefixtures("in_amsterdam")
def test_a_naive_eta_is_meant_in_the_zone_of_the_project() -> None:
    naive = datetime(2026, 7, 1, 12)  # noqa: DTZ001

    assert build_options({"eta": naive}).not_before == datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()


@pytest.mark.usefixtures("in_amsterdam")
@pytest.mark.parametrize(("day", "month", "hour", "word"), [(29, 3, 2, "never"), (25, 10, 2, "twice")])
def test_a_naive_eta_that_the_clock_shows_never_or_twice_is_refused(day: int, month: int, hour: int, word: str) -> None:
    naive = datetime(2026, month, day, hour, 30)  # noqa: DTZ001

    with pytest.raises(ValueError, match=f"shown {word} by the clock of Europe/Amsterdam"):
        build_options({"eta": naive})


@pytest.mark.usefixtures("in_amsterdam")
def test_a_naive_eta_may_say_which_of_two_it_means() -> None:
    naive = datetime(2026, 10, 25, 2, 30, fold=1)  # noqa: DTZ001

    assert build_options({"eta": naive}).not_before == naive.replace(tzinfo=AMSTERDAM).timestamp()


def test_django_says_in_which_zone_a_form_would_read_it() -> None:
    with override_settings(USE_TZ=True), django_timezone.override("Asia/Tokyo"):
        assert str(LocalTime.zone()) == "Asia/Tokyo"
    with override_settings(USE_TZ=False):
        assert LocalTime.zone() is None
