"""The guard's verdicts, by table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.cluster.ipc.process_row import Cause, ProcessCommand, ProcessState, ScoreboardRow
from django_cluster.cluster.supervisor.policy import (
    EARLY_EXIT_SECONDS,
    KEEP,
    MAX_FAILED_BOOTS,
    MAX_KILLED_BOOTS,
    MAX_RESTART_DELAY,
    MAX_RESTART_DELAY_AFTER_KILL,
    MAX_SILENCE_SECONDS_WHILE_STOPPING,
    MIN_SILENCE_SECONDS,
    Action,
    Decision,
    Observation,
    decide,
    restart_delay,
    silence_limit,
    silence_seconds,
)
from tests.fields import fields

NOW = 1000.0
GRACE = 2.0
BOOT = 60.0
MAX_RSS = 100_000
MAX_SILENCE = 30.0


def observation(
    state: ProcessState = ProcessState.IDLE,
    *,
    deadline: float = 0.0,
    exit_code: int | None = None,
    age: float = 100.0,
    cause: Cause = Cause.NONE,
    early_exits: int = 0,
    failed_boots: int = 0,
    rss: int = 0,
    silence: float = 0.0,
) -> Observation:
    row = ScoreboardRow(
        incarnation=1,
        pid=42,
        state=state,
        running=0,
        begun=0,
        done=0,
        rss=0,
        started=0.0,
        deadline=deadline,
        command=ProcessCommand.RUN,
        cause=cause,
        exit_code=exit_code,
        peak_rss=0,
        revoked=0,
        role_code=0,
        restart_request=0,
    )
    return Observation(row, exit_code, age, early_exits, failed_boots, rss, silence)


def decision(what: Observation, max_rss: int | None = MAX_RSS) -> Decision:
    return decide(what, NOW, grace=GRACE, boot_timeout=BOOT, max_rss=max_rss, max_silence=MAX_SILENCE)


@pytest.mark.parametrize(
    ("what", "action", "cause"),
    [
        # Alive.
        (observation(ProcessState.IDLE), Action.KEEP, Cause.NONE),
        (observation(ProcessState.STOPPING), Action.KEEP, Cause.NONE),
        (observation(ProcessState.BUSY), Action.KEEP, Cause.NONE),
        (observation(ProcessState.BUSY, deadline=NOW + 1), Action.KEEP, Cause.NONE),
        (observation(ProcessState.BUSY, deadline=NOW - GRACE), Action.KEEP, Cause.NONE),
        (observation(ProcessState.BUSY, deadline=NOW - GRACE - 0.001), Action.KILL, Cause.TIMEOUT),
        (observation(ProcessState.BUSY, deadline=NOW - 9999), Action.KILL, Cause.TIMEOUT),
        # Only a task that runs has a deadline.
        (observation(ProcessState.IDLE, deadline=1.0), Action.KEEP, Cause.NONE),
        (observation(ProcessState.BOOTING, age=BOOT), Action.KEEP, Cause.NONE),
        (observation(ProcessState.BOOTING, age=BOOT + 0.001), Action.KILL, Cause.BOOT),
        # Only a task that runs can hold too much memory; an idle worker leaves by itself.
        (observation(ProcessState.BUSY, rss=MAX_RSS), Action.KEEP, Cause.NONE),
        (observation(ProcessState.BUSY, rss=MAX_RSS + 1), Action.KILL, Cause.MEMORY),
        (observation(ProcessState.BUSY, rss=MAX_RSS + 1, deadline=1.0), Action.KILL, Cause.TIMEOUT),
        (observation(ProcessState.IDLE, rss=MAX_RSS + 1), Action.KEEP, Cause.NONE),
        # Only outside a task, and after its start, does silence count.
        (observation(ProcessState.IDLE, silence=MAX_SILENCE), Action.KEEP, Cause.NONE),
        (observation(ProcessState.IDLE, silence=MAX_SILENCE + 0.001), Action.KILL, Cause.UNRESPONSIVE),
        (observation(ProcessState.STOPPING, silence=MAX_SILENCE + 0.001), Action.KILL, Cause.UNRESPONSIVE),
        (observation(ProcessState.BUSY, silence=9999), Action.KEEP, Cause.NONE),
        (observation(ProcessState.BOOTING, silence=9999, age=BOOT), Action.KEEP, Cause.NONE),
        (
            observation(ProcessState.IDLE, exit_code=-9, cause=Cause.UNRESPONSIVE, age=1.0, early_exits=9),
            Action.REPLACE,
            Cause.NONE,
        ),
        (observation(ProcessState.STOPPING, exit_code=0, silence=9999), Action.REPLACE, Cause.NONE),
        # Gone.
        (observation(ProcessState.STOPPING, exit_code=0), Action.REPLACE, Cause.NONE),
        (observation(ProcessState.STOPPING, exit_code=0, age=0.1, early_exits=9), Action.REPLACE, Cause.NONE),
        (observation(ProcessState.BUSY, exit_code=-9), Action.REPLACE, Cause.NONE),
        (
            observation(ProcessState.BUSY, exit_code=-9, cause=Cause.TIMEOUT, age=1.0, early_exits=9),
            Action.REPLACE,
            Cause.NONE,
        ),
        (
            observation(ProcessState.BUSY, exit_code=-9, cause=Cause.MEMORY, age=1.0, early_exits=9),
            Action.REPLACE,
            Cause.NONE,
        ),
        (
            observation(ProcessState.BOOTING, exit_code=1, failed_boots=MAX_FAILED_BOOTS - 2, age=EARLY_EXIT_SECONDS),
            Action.REPLACE,
            Cause.NONE,
        ),
        (
            observation(ProcessState.BOOTING, exit_code=1, failed_boots=MAX_FAILED_BOOTS - 1),
            Action.STOP_CLUSTER,
            Cause.NONE,
        ),
        (
            observation(ProcessState.BOOTING, exit_code=-9, failed_boots=MAX_KILLED_BOOTS - 1),
            Action.STOP_CLUSTER,
            Cause.NONE,
        ),
        # Who was ready once is no hopeless case, however often its predecessors died.
        (observation(ProcessState.IDLE, exit_code=1, failed_boots=99), Action.REPLACE, Cause.NONE),
    ],
    ids=str,
)
def test_what_is_seen_decides(what: Observation, action: Action, cause: Cause) -> None:
    found = decision(what)

    assert fields(found, "action", "cause", "delay") == {"action": action, "cause": cause, "delay": 0.0}


def test_without_a_limit_memory_is_nobodys_business() -> None:
    assert decision(observation(ProcessState.BUSY, rss=10**9), max_rss=None) == KEEP


def test_the_first_young_death_is_replaced_at_once_and_the_next_later_and_later() -> None:
    delays = [
        decision(observation(ProcessState.IDLE, exit_code=1, age=1.0, early_exits=deaths)).delay for deaths in range(20)
    ]

    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert delays[1] > 0.0
    assert delays[-1] == MAX_RESTART_DELAY


def test_leaving_with_an_error_is_a_death_like_any_other() -> None:
    assert decision(observation(ProcessState.STOPPING, exit_code=1, age=1.0, early_exits=5)).delay > 0


def test_a_child_that_somebody_kills_again_and_again_is_replaced_nearly_at_once() -> None:
    delays = [
        decision(observation(ProcessState.IDLE, exit_code=-9, age=1.0, early_exits=deaths)).delay
        for deaths in range(20)
    ]

    assert max(delays) == MAX_RESTART_DELAY_AFTER_KILL


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_no_delay_is_beyond_its_bounds(deaths: int) -> None:
    assert 0 <= restart_delay(deaths) <= MAX_RESTART_DELAY


@settings(deadline=None)
@given(
    state=st.sampled_from(ProcessState),
    cause=st.sampled_from(Cause),
    exit_code=st.none() | st.integers(-64, 255),
    deadline=st.floats(0, 2000),
    age=st.floats(0, 1e6),
    deaths=st.integers(0, 1000),
)
def test_the_living_are_kept_or_killed_and_the_dead_replaced_or_the_end(
    state: ProcessState, cause: Cause, exit_code: int | None, deadline: float, age: float, deaths: int
) -> None:
    found = decision(
        observation(
            state, deadline=deadline, exit_code=exit_code, age=age, cause=cause, early_exits=deaths, failed_boots=deaths
        )
    )

    living = found.action in (Action.KEEP, Action.KILL)
    assert living == (exit_code is None)
    assert (found.cause is not Cause.NONE) == (found.action is Action.KILL)
    assert found == KEEP or found.action is not Action.KEEP


@pytest.mark.parametrize(
    ("lease", "chosen", "stopping", "limit"),
    [
        (2.0, None, False, MIN_SILENCE_SECONDS),
        (60.0, None, False, 125.0),
        (60.0, 7.0, False, 7.0),
        (60.0, None, True, MAX_SILENCE_SECONDS_WHILE_STOPPING),
        (60.0, 7.0, True, 7.0),
    ],
)
def test_the_permitted_silence_is_longer_than_any_single_wait_for_a_server(
    lease: float, chosen: float | None, stopping: bool, limit: float
) -> None:
    assert silence_limit(lease, chosen, stopping=stopping) == limit


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
    row = replace(observation().row, last_alive=tick)

    assert silence_seconds(row, NOW, watched_since) == silence


@pytest.mark.parametrize(
    ("running", "deadline", "at", "action", "cause"),
    [
        (7, 0.0, NOW - GRACE - 0.001, Action.KILL, Cause.CANCELLED),
        (7, NOW + 60, NOW - GRACE - 0.001, Action.KILL, Cause.CANCELLED),
        (7, NOW - GRACE - 1, NOW - GRACE - 0.5, Action.KILL, Cause.TIMEOUT),
        (7, 0.0, NOW - GRACE, Action.KEEP, Cause.NONE),
        (8, 0.0, NOW - 9999, Action.KEEP, Cause.NONE),  # the job after it
    ],
)
def test_a_cancelled_task_that_does_not_end_is_killed(
    running: int, deadline: float, at: float, action: Action, cause: Cause
) -> None:
    what = observation(ProcessState.BUSY, deadline=deadline)
    row = replace(what.row, running=running, cancel_job=7, cancelled_at=at)

    assert fields(decision(replace(what, row=row)), "action", "cause") == {"action": action, "cause": cause}
