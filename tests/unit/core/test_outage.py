"""A server that is away: said once, waited for longer and longer, welcomed back."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest

from django_cluster.core.outage import FIRST_DELAY, MAX_DELAY, SHARE, Outage
from django_cluster.errors import BrokerUnavailable
from tests.conftest import Clock


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage("The broker", clock)


def test_all_is_well_at_first(outage: Outage) -> None:
    assert outage.due
    assert not outage.lasts


def test_after_a_failure_nobody_tries_until_it_is_time(outage: Outage, clock: Clock) -> None:
    outage.failed(BrokerUnavailable())

    assert outage.lasts
    assert not outage.due
    clock.advance(FIRST_DELAY)
    assert outage.due


def test_the_pauses_grow_up_to_a_limit(outage: Outage, clock: Clock) -> None:
    pauses = []
    for _ in range(20):
        outage.failed(BrokerUnavailable())
        pauses.append(outage.retry_at - clock.now)
        clock.now = outage.retry_at

    assert all(later >= 0.75 * 1.99 * earlier for earlier, later in pairwise(pauses[:5]))
    assert pauses[0] <= FIRST_DELAY
    assert 0.75 * MAX_DELAY <= pauses[-1] <= MAX_DELAY


def test_only_the_first_line_of_an_error_is_said(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    outage.failed(BrokerUnavailable('relation "tasks" does not exist\nLINE 1: SELECT 1 FROM tasks\n             ^'))

    assert caplog.messages == ['The broker cannot be used: relation "tasks" does not exist. Waiting for it.']


def test_an_outage_is_said_once_and_so_is_its_end(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    outage.over()
    for _ in range(5):
        outage.failed(BrokerUnavailable("connection refused"))
        clock.advance(1)
    outage.over()
    outage.over()

    assert caplog.messages == [
        "The broker cannot be used: connection refused. Waiting for it.",
        "The broker is back after 5.0 seconds.",
    ]


def test_an_error_without_words_is_named(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    outage.failed(ConnectionError())

    assert "ConnectionError." in caplog.text


def test_a_new_outage_begins_with_a_short_pause(outage: Outage, clock: Clock) -> None:
    for _ in range(10):
        outage.failed(BrokerUnavailable())
    outage.over()

    outage.failed(BrokerUnavailable())

    assert outage.retry_at - clock.now <= FIRST_DELAY


def test_an_attempt_that_took_long_is_followed_by_a_longer_pause(outage: Outage, clock: Clock) -> None:
    outage.failed(BrokerUnavailable(), took=2.0)

    assert 0.75 * SHARE * 2.0 <= outage.retry_at - clock.now <= SHARE * 2.0
