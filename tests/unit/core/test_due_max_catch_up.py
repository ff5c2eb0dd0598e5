"""How many missed runs are made up for: the newest, and as many as were asked for, whatever the rule."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core.due import MISSED_AFTER, CatchUp, RunWindow, decide_due, first_of_newest
from django_cluster.core.recurrence import Recurrence, recurrence

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)

RULES: list[tuple[str, dict[str, Any]]] = [
    *(("I", {"minutes": 7}), ("H", {}), ("D", {}), ("W", {}), ("M", {}), ("Y", {})),
    *(("C", {"cron": text}) for text in ("*/5 * * * *", "0 9-17 * * 1-5", "0 0 1 1 *", "* 3 1 * *", "30 2 29 2 *")),
]


def caught_up(rule: Recurrence, next_run: datetime, now: datetime, limit: int | None, **more: Any) -> list[datetime]:
    """What is fired until nothing is due any more; the clock stands still."""
    found: list[datetime] = []
    due: datetime | None = next_run
    while due is not None and due <= now:
        fire, due, _ = decide_due(rule, due, now, UTC, catch_up=CatchUp.ALL, limit=limit, **more)
        if fire is not None:
            found.append(fire)
    return found


@given(
    kind=st.sampled_from(RULES),
    count=st.integers(1, 12),
    away=st.timedeltas(timedelta(0), timedelta(days=900)),
)
def test_the_newest_runs_are_made_up_for(kind: tuple[str, dict[str, Any]], count: int, away: timedelta) -> None:
    code, columns = kind
    rule = recurrence(code, anchor=NOW - away, **columns)
    until = NOW - MISSED_AFTER
    # No more of them than can be listed here.
    first = NOW - away if code not in ("I", "C") else max(NOW - away, NOW - timedelta(days=2))
    every = list(occurrences(rule, first, until))

    found = first_of_newest(rule, first, until, UTC, count)

    kept = list(occurrences(rule, found, until))
    assert kept == every[-count:]


def occurrences(rule: Recurrence, first: datetime, until: datetime) -> Iterator[datetime]:
    moment: datetime | None = first
    while moment is not None and moment < until:
        yield moment
        moment = rule.next_after(moment, UTC)


@pytest.mark.parametrize(("limit", "fired"), [(None, 25), (30, 25), (24, 25), (3, 4), (1, 2)])
def test_so_many_are_fired_besides_the_one_that_is_not_late(limit: int | None, fired: int) -> None:
    at_noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    first = at_noon - 24 * HOUR

    found = caught_up(recurrence("H", anchor=first), first, NOW, limit)

    assert found == [at_noon - hours * HOUR for hours in range(fired - 1, -1, -1)]


def test_what_is_left_out_is_told_once() -> None:
    first = NOW - 24 * HOUR
    rule = recurrence("H", anchor=first)

    once = decide_due(rule, first, NOW, UTC, catch_up=CatchUp.ALL, limit=3)
    assert once.next_run is not None
    again = decide_due(rule, once.next_run, NOW, UTC, catch_up=CatchUp.ALL, limit=3)

    assert once.skipped == (first, NOW - 3 * HOUR)
    assert again.skipped is None


def test_only_runs_before_the_end_count() -> None:
    first = NOW - 24 * HOUR
    rule = recurrence("H", anchor=first)

    found = caught_up(rule, first, NOW, 2, window=RunWindow(end=NOW - 10 * HOUR))

    assert found == [NOW - 11 * HOUR, NOW - 10 * HOUR]


@pytest.mark.parametrize("wish", [CatchUp.ONCE, CatchUp.SKIP])
def test_the_other_ways_to_catch_up_know_no_limit(wish: CatchUp) -> None:
    first = NOW - 24 * HOUR
    rule = recurrence("H", anchor=first)

    assert decide_due(rule, first, NOW, UTC, catch_up=wish, limit=3) == decide_due(rule, first, NOW, UTC, catch_up=wish)


@pytest.mark.parametrize("cron", ["* * * * *", "*/5 9-17 * * 1-5"])
def test_years_of_minutes_are_a_few_steps(cron: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    rule = recurrence("C", anchor=NOW, cron=cron)
    next_after = type(rule).next_after

    def counted(self: Any, moment: datetime, tz: Any) -> datetime | None:
        nonlocal steps
        steps += 1
        return next_after(self, moment, tz)

    monkeypatch.setattr(type(rule), "next_after", counted)

    found = first_of_newest(rule, datetime(2020, 1, 1, tzinfo=UTC), NOW, UTC, 10)

    kept = [found, *occurrences(rule, found, NOW)][1:]
    assert len(kept) == 10
    assert all(one < other for one, other in pairwise(kept))
    assert steps < 300
