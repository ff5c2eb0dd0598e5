"""The guard's verdicts, by table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.cluster.guard import (
    HOPELESS,
    HOPELESS_KILLED,
    KEEP,
    MAX_DELAY,
    MAX_DELAY_KILLED,
    MAX_SILENCE_STOPPING,
    MIN_SILENCE,
    YOUNG,
    Action,
    Seen,
    Verdict,
    delay_after,
    judge,
    max_silence_of,
    silence_of,
)
from django_cluster.cluster.scoreboard import Cause, Order, Row, State

NOW = 1000.0
GRACE = 2.0
BOOT = 60.0
MAX_RSS = 100_000
MAX_SILENCE = 30.0


def seen(
    state: State = State.IDLE,
    *,
    deadline: float = 0.0,
    exit: int | None = None,
    age: float = 100.0,
    cause: Cause = Cause.NONE,
    young_deaths: int = 0,
    failed_boots: int = 0,
    rss: int = 0,
    silence: float = 0.0,
) -> Seen:
    row = Row(
        seat=1,
        pid=42,
        state=state,
        running=0,
        begun=0,
        done=0,
        rss=0,
        started=0.0,
        deadline=deadline,
        order=Order.STAY,
        cause=cause,
        exit=exit,
        peak=0,
        revoked=0,
        post=0,
        recycle=0,
    )
    return Seen(row, exit, age, young_deaths, failed_boots, rss, silence)


def verdict(what: Seen, max_rss: int | None = MAX_RSS) -> Verdict:
    return judge(what, NOW, grace=GRACE, boot_timeout=BOOT, max_rss=max_rss, max_silence=MAX_SILENCE)


@pytest.mark.parametrize(
    ("what", "action", "cause"),
    [
        # Alive.
        (seen(State.IDLE), Action.KEEP, Cause.NONE),
        (seen(State.LEAVING), Action.KEEP, Cause.NONE),
        (seen(State.BUSY), Action.KEEP, Cause.NONE),
        (seen(State.BUSY, deadline=NOW + 1), Action.KEEP, Cause.NONE),
        (seen(State.BUSY, deadline=NOW - GRACE), Action.KEEP, Cause.NONE),
        (seen(State.BUSY, deadline=NOW - GRACE - 0.001), Action.KILL, Cause.TIMEOUT),
        (seen(State.BUSY, deadline=NOW - 9999), Action.KILL, Cause.TIMEOUT),
        # Only a task that runs has a deadline.
        (seen(State.IDLE, deadline=1.0), Action.KEEP, Cause.NONE),
        (seen(State.BOOTING, age=BOOT), Action.KEEP, Cause.NONE),
        (seen(State.BOOTING, age=BOOT + 0.001), Action.KILL, Cause.BOOT),
        # Only a task that runs can hold too much memory; an idle worker leaves by itself.
        (seen(State.BUSY, rss=MAX_RSS), Action.KEEP, Cause.NONE),
        (seen(State.BUSY, rss=MAX_RSS + 1), Action.KILL, Cause.MEMORY),
        (seen(State.BUSY, rss=MAX_RSS + 1, deadline=1.0), Action.KILL, Cause.TIMEOUT),
        (seen(State.IDLE, rss=MAX_RSS + 1), Action.KEEP, Cause.NONE),
        # Only outside a task, and after its start, does silence count.
        (seen(State.IDLE, silence=MAX_SILENCE), Action.KEEP, Cause.NONE),
        (seen(State.IDLE, silence=MAX_SILENCE + 0.001), Action.KILL, Cause.UNRESPONSIVE),
        (seen(State.LEAVING, silence=MAX_SILENCE + 0.001), Action.KILL, Cause.UNRESPONSIVE),
        (seen(State.BUSY, silence=9999), Action.KEEP, Cause.NONE),
        (seen(State.BOOTING, silence=9999, age=BOOT), Action.KEEP, Cause.NONE),
        (seen(State.IDLE, exit=-9, cause=Cause.UNRESPONSIVE, age=1.0, young_deaths=9), Action.REPLACE, Cause.NONE),
        (seen(State.LEAVING, exit=0, silence=9999), Action.REPLACE, Cause.NONE),
        # Gone.
        (seen(State.LEAVING, exit=0), Action.REPLACE, Cause.NONE),
        (seen(State.LEAVING, exit=0, age=0.1, young_deaths=9), Action.REPLACE, Cause.NONE),
        (seen(State.BUSY, exit=-9), Action.REPLACE, Cause.NONE),
        (seen(State.BUSY, exit=-9, cause=Cause.TIMEOUT, age=1.0, young_deaths=9), Action.REPLACE, Cause.NONE),
        (seen(State.BUSY, exit=-9, cause=Cause.MEMORY, age=1.0, young_deaths=9), Action.REPLACE, Cause.NONE),
        (seen(State.BOOTING, exit=1, failed_boots=HOPELESS - 2, age=YOUNG), Action.REPLACE, Cause.NONE),
        (seen(State.BOOTING, exit=1, failed_boots=HOPELESS - 1), Action.GIVE_UP, Cause.NONE),
        (seen(State.BOOTING, exit=-9, failed_boots=HOPELESS_KILLED - 1), Action.GIVE_UP, Cause.NONE),
        # Who was ready once is no hopeless case, however often its predecessors died.
        (seen(State.IDLE, exit=1, failed_boots=99), Action.REPLACE, Cause.NONE),
    ],
    ids=str,
)
def test_what_is_seen_decides(what: Seen, action: Action, cause: Cause) -> None:
    found = verdict(what)

    assert (found.action, found.cause, found.delay) == (action, cause, 0.0)


def test_without_a_limit_memory_is_nobodys_business() -> None:
    assert verdict(seen(State.BUSY, rss=10**9), max_rss=None) == KEEP


def test_the_first_young_death_is_replaced_at_once_and_the_next_later_and_later() -> None:
    delays = [verdict(seen(State.IDLE, exit=1, age=1.0, young_deaths=deaths)).delay for deaths in range(20)]

    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert delays[1] > 0.0
    assert delays[-1] == MAX_DELAY


def test_leaving_with_an_error_is_a_death_like_any_other() -> None:
    assert verdict(seen(State.LEAVING, exit=1, age=1.0, young_deaths=5)).delay > 0


def test_a_child_that_somebody_kills_again_and_again_is_replaced_nearly_at_once() -> None:
    delays = [verdict(seen(State.IDLE, exit=-9, age=1.0, young_deaths=deaths)).delay for deaths in range(20)]

    assert max(delays) == MAX_DELAY_KILLED


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_no_delay_is_beyond_its_bounds(deaths: int) -> None:
    assert 0 <= delay_after(deaths) <= MAX_DELAY


@settings(deadline=None)
@given(
    state=st.sampled_from(State),
    cause=st.sampled_from(Cause),
    exit=st.none() | st.integers(-64, 255),
    deadline=st.floats(0, 2000),
    age=st.floats(0, 1e6),
    deaths=st.integers(0, 1000),
)
def test_the_living_are_kept_or_killed_and_the_dead_replaced_or_the_end(
    state: State, cause: Cause, exit: int | None, deadline: float, age: float, deaths: int
) -> None:
    found = verdict(
        seen(state, deadline=deadline, exit=exit, age=age, cause=cause, young_deaths=deaths, failed_boots=deaths)
    )

    living = found.action in (Action.KEEP, Action.KILL)
    assert living == (exit is None)
    assert (found.cause is not Cause.NONE) == (found.action is Action.KILL)
    assert found == KEEP or found.action is not Action.KEEP


@pytest.mark.parametrize(
    ("lease", "chosen", "stopping", "limit"),
    [
        (2.0, None, False, MIN_SILENCE),
        (60.0, None, False, 125.0),
        (60.0, 7.0, False, 7.0),
        (60.0, None, True, MAX_SILENCE_STOPPING),
        (60.0, 7.0, True, 7.0),
    ],
)
def test_the_permitted_silence_is_longer_than_any_single_wait_for_a_server(
    lease: float, chosen: float | None, stopping: bool, limit: float
) -> None:
    assert max_silence_of(lease, chosen, stopping=stopping) == limit


@pytest.mark.parametrize(
    ("tick", "watched_since", "silence"),
    [
        (NOW - 5, 0.0, 5.0),
        (0.0, NOW - 3, 3.0),  # it has not ticked yet, and was started three seconds ago
        (NOW - 500, NOW - 1, 1.0),  # the machine was suspended
        (NOW + 30, 0.0, 0.0),  # it has announced something that takes longer
    ],
)
def test_silence_counts_while_the_sentinel_itself_was_awake(tick: float, watched_since: float, silence: float) -> None:
    row = replace(seen().row, tick=tick)

    assert silence_of(row, NOW, watched_since) == silence
