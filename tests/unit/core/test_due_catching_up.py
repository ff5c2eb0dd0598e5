"""Random years and zones, clusters that stop, clocks that are set back: no run is skipped, and none is doubled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.core.due import MISSED_AFTER, CatchUp, RunWindow, decide_due
from django_cluster.core.recurrence import BUILT_IN, Recurrence, recurrence
from tests.examples import examples

ZONES: Sequence[tzinfo | None] = [
    None,  # USE_TZ = False
    *map(ZoneInfo, ("Europe/Amsterdam", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "UTC")),
    *map(ZoneInfo, ("Asia/Kathmandu", "Pacific/Apia", "Pacific/Chatham", "Africa/Casablanca", "America/Sao_Paulo")),
]
CODES = [kind.code for kind in BUILT_IN]
CRONS = ["*/20 * * * *", "0 * * * *", "30 2 * * *", "15,45 1-3 * * *", "0 0 1 * *", "59 23 31 12 *", "@weekly"]
CHANGES = [(2026, 3, 8), (2026, 3, 29), (2026, 4, 5), (2026, 10, 4), (2026, 10, 25), (2026, 11, 1), (2011, 12, 30)]
"""Days on which the clock is changed somewhere."""


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """Any minute of decades, more often one near a change of the clock."""
    near = datetime(*draw(st.sampled_from(CHANGES)), tzinfo=UTC) + timedelta(minutes=draw(st.integers(-3000, 3000)))
    far = datetime(1995, 1, 1, tzinfo=UTC) + timedelta(minutes=draw(st.integers(0, 23_000_000)))
    return draw(st.sampled_from([near, far]))


@st.composite
def stories(draw: st.DrawFn) -> tuple[Recurrence, tzinfo | None, list[datetime]]:
    """A rule, its zone, and the moments at which a scheduler looks; its clock may be set back by an hour."""
    tz = draw(st.sampled_from(ZONES))
    begin = draw(moments())
    if tz is None:
        begin = begin.replace(tzinfo=None)
    code, minutes, cron = draw(st.sampled_from(CODES)), draw(st.integers(7, 3000)), draw(st.sampled_from(CRONS))
    rule = recurrence(code, anchor=begin, minutes=minutes, cron=cron)
    longest = timedelta(hours=2) if code in "IHC" else timedelta(days=40)
    unit = draw(st.sampled_from([timedelta(seconds=20), timedelta(minutes=9), longest]))
    looks = [begin]
    for steps in draw(st.lists(st.integers(-1, 6), min_size=1, max_size=8)):
        looks.append(looks[-1] + (steps * unit if steps >= 0 else -timedelta(hours=1)))
    return rule, tz, looks


def occurrences(rule: Recurrence, tz: tzinfo | None, until: datetime) -> list[datetime]:
    """All of them, from the anchor on."""

    def each() -> Iterator[datetime]:
        due = rule.next_after(rule.anchor - timedelta(microseconds=1), tz)
        while due is not None:
            yield due
            due = rule.next_after(due, tz)

    return list(takewhile(lambda due: due <= until, each()))


def simulate(
    rule: Recurrence, tz: tzinfo | None, looks: Sequence[datetime], wish: CatchUp, window: RunWindow
) -> list[tuple[datetime, datetime]]:
    """(when it was fired, the run that it was), step by step as rows are kept: only the next run and the anchor."""
    following = rule.next_after(rule.anchor - timedelta(microseconds=1), tz)
    fired: list[tuple[datetime, datetime]] = []
    for now in looks:
        while following is not None and following <= now:
            rule = rule.anchored_at(following, tz)
            found = decide_due(rule, following, now, tz, catch_up=wish, window=window)
            if found.fire is not None:
                fired.append((now, found.fire))
            assert found.next_run is None or found.next_run > following
            following = found.next_run
    return fired


@settings(max_examples=examples(80), deadline=None)
@given(stories())
def test_catching_up_fires_every_run_once_and_in_its_order(
    story: tuple[Recurrence, tzinfo | None, list[datetime]],
) -> None:
    rule, tz, looks = story

    fired = [due for _, due in simulate(rule, tz, looks, CatchUp.ALL, RunWindow())]

    assert fired == occurrences(rule, tz, max(looks))


@settings(max_examples=examples(80), deadline=None)
@given(stories())
def test_catching_up_once_fires_once_at_a_look_that_finds_something_due(
    story: tuple[Recurrence, tzinfo | None, list[datetime]],
) -> None:
    rule, tz, looks = story

    fired = simulate(rule, tz, looks, CatchUp.ONCE, RunWindow())

    seen, expected = None, []
    every = occurrences(rule, tz, max(looks))
    for now in looks:
        due = [each for each in every if each <= now and (seen is None or each > seen)]
        if due:
            expected.append((now, due[0]))
            seen = now
    assert fired == expected


@settings(max_examples=examples(80), deadline=None)
@given(stories())
def test_skipping_fires_what_is_seen_in_time_and_nothing_else(
    story: tuple[Recurrence, tzinfo | None, list[datetime]],
) -> None:
    rule, tz, looks = story

    fired = simulate(rule, tz, looks, CatchUp.SKIP, RunWindow())

    every = occurrences(rule, tz, max(looks))
    in_time = {
        due for due in every if any(due <= now <= due + MISSED_AFTER and now == first_at(looks, due) for now in looks)
    }
    last = {due for due in every if rule.next_after(due, tz) is None}
    assert len(fired) == len({due for _, due in fired})
    assert {due for _, due in fired} == in_time | last


def first_at(looks: Sequence[datetime], due: datetime) -> datetime:
    """The first check that could see this run."""
    return next(now for now in looks if now >= due)


@settings(max_examples=examples(60), deadline=None)
@given(stories(), st.integers(0, 30), st.integers(0, 60))
def test_runs_outside_the_window_are_none(
    story: tuple[Recurrence, tzinfo | None, list[datetime]], start: int, length: int
) -> None:
    rule, tz, looks = story
    span = max(looks) - min(looks)
    window = RunWindow(min(looks) + span * start / 30, min(looks) + span * (start + length) / 30)

    fired = [due for _, due in simulate(rule, tz, looks, CatchUp.ALL, window)]

    assert window.start is not None
    assert fired == [due for due in occurrences(rule, tz, max(looks)) if window.start <= due and window.clip(due)]
