"""A server that is away: said once, waited for longer and longer, welcomed back."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest

from django_cluster.core.backoff import FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS, PAUSE_FACTOR, ReconnectBackoff
from django_cluster.errors import BrokerUnavailable
from tests.conftest import Clock


@pytest.fixture
def backoff(clock: Clock) -> ReconnectBackoff:
    return ReconnectBackoff("The broker", clock)


def test_all_is_well_at_first(backoff: ReconnectBackoff) -> None:
    assert backoff.due
    assert not backoff.failing


def test_after_a_failure_the_next_try_waits(backoff: ReconnectBackoff, clock: Clock) -> None:
    backoff.failed(BrokerUnavailable())

    assert backoff.failing
    assert not backoff.due
    clock.advance(FIRST_DELAY_SECONDS)
    assert backoff.due


def test_the_pauses_grow_up_to_a_limit(backoff: ReconnectBackoff, clock: Clock) -> None:
    pauses = []
    for _ in range(20):
        backoff.failed(BrokerUnavailable())
        pauses.append(backoff.retry_at - clock.now)
        clock.now = backoff.retry_at

    assert all(later >= 0.75 * 1.99 * earlier for earlier, later in pairwise(pauses[:5]))
    assert pauses[0] <= FIRST_DELAY_SECONDS
    assert 0.75 * MAX_DELAY_SECONDS <= pauses[-1] <= MAX_DELAY_SECONDS


def test_only_the_first_line_of_an_error_is_said(backoff: ReconnectBackoff, caplog: pytest.LogCaptureFixture) -> None:
    backoff.failed(BrokerUnavailable('relation "tasks" does not exist\nLINE 1: SELECT 1 FROM tasks\n             ^'))

    assert caplog.messages == ['The broker unavailable: relation "tasks" does not exist; retrying']


def test_an_outage_is_said_once_and_so_is_its_end(
    backoff: ReconnectBackoff, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    backoff.recovered()
    for _ in range(5):
        backoff.failed(BrokerUnavailable("connection refused"))
        clock.advance(1)
    backoff.recovered()
    backoff.recovered()

    assert caplog.messages == [
        "The broker unavailable: connection refused; retrying",
        "The broker available again after 5.0 s",
    ]


def test_an_error_without_words_is_named(backoff: ReconnectBackoff, caplog: pytest.LogCaptureFixture) -> None:
    backoff.failed(ConnectionError())

    assert "ConnectionError; retrying" in caplog.text


def test_a_new_outage_begins_with_a_short_pause(backoff: ReconnectBackoff, clock: Clock) -> None:
    for _ in range(10):
        backoff.failed(BrokerUnavailable())
    backoff.recovered()

    backoff.failed(BrokerUnavailable())

    assert backoff.retry_at - clock.now <= FIRST_DELAY_SECONDS


def test_an_attempt_that_took_long_is_followed_by_a_longer_pause(backoff: ReconnectBackoff, clock: Clock) -> None:
    backoff.failed(BrokerUnavailable(), took=2.0)

    assert 0.75 * PAUSE_FACTOR * 2.0 <= backoff.retry_at - clock.now <= PAUSE_FACTOR * 2.0
