"""Unix times ↔ datetimes of rows, with ``USE_TZ`` and without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone as django_timezone

from django_cluster.core.time import (
    LAST_MOMENT,
    LocalTime,
    from_unix_time,
    is_unix_time,
    naive,
    nearest_unix_time,
    storable_moment,
    to_unix_time,
)

MOMENT = datetime(2026, 11, 30, 17, 30, 0, 250_000, UTC)


@pytest.fixture
def without_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalTime, "zone", staticmethod(lambda: None))


@pytest.fixture
def in_amsterdam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalTime, "zone", staticmethod(lambda: ZoneInfo("Europe/Amsterdam")))


@pytest.mark.usefixtures("in_amsterdam")
def test_with_zones_a_unix_time_is_an_aware_moment_and_back() -> None:
    assert from_unix_time(MOMENT.timestamp()) == MOMENT
    assert to_unix_time(MOMENT) == MOMENT.timestamp()


@pytest.mark.usefixtures("in_amsterdam")
def test_with_zones_a_naive_moment_is_one_of_the_project() -> None:
    assert to_unix_time(datetime(2026, 11, 30, 18, 30)) == datetime(2026, 11, 30, 17, 30, tzinfo=UTC).timestamp()  # noqa: DTZ001


@pytest.mark.usefixtures("without_zones")
def test_without_zones_a_unix_time_is_a_naive_moment_and_back() -> None:
    found = from_unix_time(MOMENT.timestamp())

    assert found.tzinfo is None
    assert to_unix_time(found) == MOMENT.timestamp()
    assert to_unix_time(MOMENT) == MOMENT.timestamp()


def test_a_row_would_return_a_moment_of_the_same_kind() -> None:
    assert django_timezone.is_aware(from_unix_time(0)) == django_timezone.is_aware(django_timezone.now())


@pytest.mark.parametrize("unix_time", [-1e300, -1.0, 1e300, float("inf"), float("nan"), LAST_MOMENT])
def test_a_number_beyond_the_calendar_becomes_its_first_or_last_moment(unix_time: float) -> None:
    assert 0 <= nearest_unix_time(unix_time) <= LAST_MOMENT
    assert from_unix_time(unix_time).year in (1969, 1970, 9999)


@pytest.mark.parametrize("value", [True, "1", None, -1, LAST_MOMENT + 1, 10**400, float("nan"), float("inf")])
def test_what_is_no_unix_time(value: object) -> None:
    assert not is_unix_time(value)


@pytest.mark.parametrize("value", [0, 1_700_000_000, 1_700_000_000.5, LAST_MOMENT])
def test_what_is_a_unix_time(value: object) -> None:
    assert is_unix_time(value)


@pytest.mark.parametrize(
    ("given", "stored"), [(5.0, 5.0), (-5.0, 0.0), (1e300, 0.0), (float("inf"), 0.0), (float("nan"), 0.0)]
)
def test_nonsense_is_stored_as_1970(given: float, stored: float) -> None:
    assert storable_moment(given) == stored


@pytest.mark.parametrize("year", [1, 9999])
def test_a_moment_at_the_end_of_the_calendar_is_that_of_utc(year: int) -> None:
    """In whatever zone this process runs."""
    for hours in (-14, 14):
        moment = datetime(year, 7, 1, 12, tzinfo=timezone(timedelta(hours=hours)))
        assert abs(naive(moment) - moment.replace(tzinfo=None)) < timedelta(days=2)
