"""What follows a run: by table, and for any settings that could be given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.core.messages import Outcome, OutcomeStatus, RetryHint
from django_cluster.core.settings import DeliverySettings
from django_cluster.lifecycle.retry_policy import RetryDecision, backoff, decide_retry

FAILURE, TIMEOUT, LOST = OutcomeStatus.FAILURE, OutcomeStatus.TIMEOUT, OutcomeStatus.LOST
EXACT = DeliverySettings(retry_delay=60.0, retry_backoff=2.0, retry_max_delay=3600.0, retry_jitter=False)


def outcome(status: OutcomeStatus, attempt: int = 1, **options: Any) -> Outcome:
    return Outcome(
        number=1,
        receipt="r",
        attempt=attempt,
        id="1" * 32,
        name="one",
        func="a.b",
        options=options,
        enqueued_at=1.0,
        started_at=2.0,
        stopped_at=3.0,
        status=status.value,
        worker="worker 1",
    )


def is_final(ended: Outcome, **delivery: Any) -> bool:
    return decide_retry(ended, replace(EXACT, **delivery)).final


@pytest.mark.parametrize(
    "status", [OutcomeStatus.SUCCESS, OutcomeStatus.REJECTED, OutcomeStatus.DISCARDED, OutcomeStatus.EXPIRED]
)
def test_a_success_and_what_can_never_be_run_are_final(status: OutcomeStatus) -> None:
    assert is_final(outcome(status))


@pytest.mark.parametrize(
    ("status", "attempt", "options", "delivery", "final"),
    [
        # By default a task is tried for ever.
        (FAILURE, 1, {}, {}, False),
        (FAILURE, 1000, {}, {}, False),
        (TIMEOUT, 1000, {}, {}, False),
        # ack_failures: a failed run is final; the task's own word counts more.
        (FAILURE, 1, {}, {"ack_failures": True}, True),
        (TIMEOUT, 1, {}, {"ack_failures": True}, True),
        (FAILURE, 1, {"ack_failure": False}, {"ack_failures": True}, False),
        (FAILURE, 1, {"ack_failure": True}, {}, True),
        # max_attempts are runs in total.
        (FAILURE, 1, {}, {"max_attempts": 1}, True),
        (FAILURE, 1, {}, {"max_attempts": 2}, False),
        (FAILURE, 2, {}, {"max_attempts": 2}, True),
        (FAILURE, 3, {}, {"max_attempts": 2}, True),
        (TIMEOUT, 2, {}, {"max_attempts": 2}, True),
        (FAILURE, 2, {"max_attempts": 3}, {"max_attempts": 2}, False),
        (FAILURE, 9, {"max_attempts": 0}, {"max_attempts": 2}, False),
        # A run that died with its process uses an attempt up, but is no failed run in the sense of ack_failures.
        (LOST, 1, {}, {"ack_failures": True}, False),
        (LOST, 1, {"ack_failure": True}, {}, False),
        (LOST, 2, {}, {"max_attempts": 2}, True),
        (LOST, 2, {}, {"max_attempts": 3}, False),
    ],
)
def test_another_run_or_none(
    status: OutcomeStatus, attempt: int, options: dict[str, Any], delivery: dict[str, Any], final: bool
) -> None:
    assert is_final(outcome(status, attempt, **options), **delivery) is final


@pytest.mark.parametrize(
    ("deaths", "limit", "dead"), [(0, 3, False), (1, 3, False), (2, 3, True), (0, 1, True), (99, 0, False)]
)
def test_poison_cannot_live_for_ever(deaths: int, limit: int, dead: bool) -> None:
    decision = decide_retry(outcome(LOST, 9), replace(EXACT, max_worker_deaths=limit), deaths=deaths)

    assert (decision.final, decision.status == OutcomeStatus.DEAD) == (dead, dead)


def test_a_failure_is_no_death_however_often_processes_died_before() -> None:
    assert not decide_retry(outcome(FAILURE, 9), EXACT, deaths=5).final


def test_a_task_that_asks_for_another_run_gets_it_even_where_failures_are_final() -> None:
    asked = outcome(FAILURE, ack_failure=True)._replace(retry_hint=RetryHint.RETRY, delay=7.0)

    assert decide_retry(asked, EXACT) == RetryDecision(FAILURE, 7.0)


def test_a_task_that_asks_for_another_run_has_no_more_of_them_than_max_attempts() -> None:
    asked = outcome(FAILURE, 2, max_attempts=2)._replace(retry_hint=RetryHint.RETRY, delay=7.0)

    assert decide_retry(asked, EXACT).final


def test_a_snooze_costs_no_attempt() -> None:
    asked = outcome(OutcomeStatus.SNOOZED, 5, max_attempts=1)._replace(retry_hint=RetryHint.SNOOZE, delay=30.0)

    assert decide_retry(asked, EXACT) == RetryDecision(OutcomeStatus.SNOOZED, 30.0, counted=False)


def test_an_exception_that_is_not_worth_a_retry_is_final() -> None:
    assert decide_retry(outcome(FAILURE)._replace(retry_hint=RetryHint.STOP), EXACT).final


@pytest.mark.parametrize(("attempt", "delay"), [(1, 60), (2, 120), (3, 240), (6, 1920), (7, 3600), (100_000, 3600)])
def test_delays_grow_by_the_factor_up_to_the_cap(attempt: int, delay: float) -> None:
    assert decide_retry(outcome(FAILURE, attempt), EXACT).delay == delay


def test_a_task_may_ask_for_a_longer_first_delay_than_the_cap() -> None:
    assert decide_retry(outcome(FAILURE, 5, retry_delay=7200.0), EXACT).delay == 7200


def test_a_task_may_ask_for_no_delay_at_all() -> None:
    assert decide_retry(outcome(FAILURE, 5, retry_delay=0.0), EXACT).delay == 0


@pytest.mark.parametrize(("luck", "delay"), [(0.0, 45.0), (0.5, 52.5), (1.0, 60.0)])
def test_jitter_takes_up_to_a_quarter_away(luck: float, delay: float) -> None:
    jittery = replace(EXACT, retry_jitter=True)

    assert decide_retry(outcome(FAILURE), jittery, jitter=lambda: luck).delay == delay


@settings(deadline=None)
def quadratic(attempt: int) -> float:
    return 5.0 * attempt**2


def broken(attempt: int) -> float:
    raise RuntimeError("no idea")


@pytest.mark.parametrize(("attempt", "delay"), [(1, 5), (3, 45), (1000, 3600)])
def test_a_function_may_name_the_delays_up_to_the_cap(attempt: int, delay: float) -> None:
    own = replace(EXACT, retry_backoff=f"{__name__}.quadratic")

    assert decide_retry(outcome(FAILURE, attempt), own).delay == delay


def test_a_function_that_fails_is_logged_and_the_first_delay_stands_in(caplog: pytest.LogCaptureFixture) -> None:
    own = replace(EXACT, retry_backoff=f"{__name__}.broken")

    assert decide_retry(outcome(FAILURE, 7), own).delay == 60
    assert "no idea" in caplog.text


@given(
    first=st.floats(0, 1e9),
    attempt=st.integers(1, 10**9),
    factor=st.floats(1, 100),
    cap=st.floats(0, 1e9),
    luck=st.floats(0, 1),
)
def test_no_delay_is_beyond_its_bounds(first: float, attempt: int, factor: float, cap: float, luck: float) -> None:
    delivery = DeliverySettings(retry_backoff=factor, retry_max_delay=cap)

    delay = backoff(first, attempt, delivery, lambda: luck)

    assert 0.75 * first <= delay <= max(first, cap)
