"""One check of a schedule: what is fired, what is left out, and when it is due again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_cluster.core.due import MISSED_AFTER, CatchUp, DueDecision, RunWindow, decide_due, first_run
from django_cluster.core.recurrence import Recurrence, recurrence

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def rule(code: str, anchor: datetime, **more: Any) -> Recurrence:
    return recurrence(code, anchor=anchor, **more)


@pytest.mark.parametrize("wish", list(CatchUp))
def test_what_is_not_due_is_left_alone(wish: CatchUp) -> None:
    later = NOW + timedelta(seconds=1)

    assert decide_due(rule("H", later), later, NOW, UTC, catch_up=wish) == DueDecision(None, later)


def test_catching_up_fires_one_missed_run_at_a_look() -> None:
    assert decide_due(rule("H", NINE), NINE, NOW, UTC, catch_up=CatchUp.ALL) == DueDecision(NINE, NINE + HOUR)


@pytest.mark.parametrize("missed", [LONG_AGO, datetime(2026, 11, 20, 12, tzinfo=UTC)])
@pytest.mark.parametrize("code", ["I", "C"])
def test_catching_up_once_fires_once_and_goes_on_in_the_future(missed: datetime, code: str) -> None:
    schedule = rule(code, missed, minutes=1, cron="* * * * *")

    found = decide_due(schedule, missed, NOW, UTC, catch_up=CatchUp.ONCE)

    assert found == DueDecision(missed, datetime(2026, 11, 20, 12, 1, tzinfo=UTC))


@pytest.mark.parametrize("missed", [LONG_AGO, NINE])
def test_skipping_leaves_missed_runs_out(missed: datetime) -> None:
    at_five_past = NINE + 3 * HOUR + timedelta(minutes=5)

    assert decide_due(rule("H", missed), missed, at_five_past, UTC, catch_up=CatchUp.SKIP) == DueDecision(
        None, NINE + 4 * HOUR
    )


@pytest.mark.parametrize("missed", [LONG_AGO, NINE])
def test_skipping_fires_the_one_of_many_missed_runs_that_is_just_due(missed: datetime) -> None:
    found = decide_due(rule("H", missed), missed, NOW, UTC, catch_up=CatchUp.SKIP)

    assert found == DueDecision(NINE + 3 * HOUR, NINE + 4 * HOUR)


@pytest.mark.parametrize("first", [NOW - MISSED_AFTER, NOW - MISSED_AFTER - 5 * HOUR])
def test_skipping_fires_what_is_only_a_little_late(first: datetime) -> None:
    due = NOW - MISSED_AFTER

    assert decide_due(rule("H", first), first, NOW, UTC, catch_up=CatchUp.SKIP) == DueDecision(due, due + HOUR)


@pytest.mark.parametrize("wish", list(CatchUp))
def test_what_runs_once_is_late_rather_than_never(wish: CatchUp) -> None:
    assert decide_due(rule("O", LONG_AGO), LONG_AGO, NOW, UTC, catch_up=wish) == DueDecision(LONG_AGO, None)


@pytest.mark.parametrize("wish", list(CatchUp))
def test_a_run_that_comes_due_while_the_last_one_is_unfinished_is_left_out(wish: CatchUp) -> None:
    assert decide_due(rule("H", NINE), NINE, NOW, UTC, catch_up=wish, busy=True) == DueDecision(None, NINE + 4 * HOUR)


def test_there_is_no_run_before_the_start() -> None:
    window = RunWindow(start=NOW + 2 * HOUR)

    assert decide_due(rule("H", NINE), NINE, NOW, UTC, catch_up=CatchUp.ALL, window=window) == DueDecision(
        None, NINE + 6 * HOUR
    )
    assert first_run(rule("H", NINE), LONG_AGO, UTC, window) == NINE + 6 * HOUR


def test_the_start_itself_may_be_a_run() -> None:
    assert first_run(rule("H", NINE), LONG_AGO, UTC, RunWindow(start=NINE + 2 * HOUR)) == NINE + 2 * HOUR


def test_there_is_no_run_after_the_end_but_one_at_it() -> None:
    window = RunWindow(end=NINE + HOUR)

    assert decide_due(rule("H", NINE), NINE, NOW, UTC, catch_up=CatchUp.ALL, window=window) == DueDecision(
        NINE, NINE + HOUR
    )
    assert decide_due(rule("H", NINE), NINE + HOUR, NOW, UTC, catch_up=CatchUp.ALL, window=window) == DueDecision(
        NINE + HOUR, None
    )
    assert decide_due(rule("H", NINE), NINE + 2 * HOUR, NOW, UTC, catch_up=CatchUp.ALL, window=window) == DueDecision(
        None, None
    )


def test_skipping_ends_with_the_window() -> None:
    window = RunWindow(end=NINE + HOUR)

    assert decide_due(rule("H", NINE), NINE, NOW, UTC, catch_up=CatchUp.SKIP, window=window) == DueDecision(None, None)
