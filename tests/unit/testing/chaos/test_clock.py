"""A wall clock that can be set wrong for some processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from django_cluster.testing.chaos.clock import SteppedClock


@pytest.fixture
def clock() -> Iterator[SteppedClock]:
    clock = SteppedClock()
    clock.install()
    yield clock
    clock.remove()


def test_a_clock_that_nobody_has_set_is_right(clock: SteppedClock) -> None:
    assert abs(time.time() - datetime.now().timestamp()) < 5  # noqa: DTZ005  the right time, which nobody replaces


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_it_is_as_wrong_as_it_was_set(clock: SteppedClock, seconds: float) -> None:
    right = datetime.now().timestamp()  # noqa: DTZ005

    clock.step(seconds)

    assert time.time() - right == pytest.approx(seconds, abs=5)
    assert timezone.now().timestamp() - right == pytest.approx(seconds, abs=5)


def test_what_it_says_are_plain_values(clock: SteppedClock) -> None:
    clock.step(60.0)

    assert type(timezone.now()) is datetime
    later = timezone.now() + timedelta(1)
    assert (timezone.localtime(later) if timezone.is_aware(later) else later) > timezone.now()


def test_the_monotonic_clock_runs_on(clock: SteppedClock) -> None:
    before = time.monotonic()

    clock.step(3600.0)

    assert time.monotonic() - before < 60


def test_after_its_removal_the_time_is_right() -> None:
    clock = SteppedClock()
    right = time.time
    clock.install()
    clock.step(3600.0)

    clock.remove()

    assert time.time is right
    assert abs(timezone.now().timestamp() - time.time()) < 5


def test_a_forked_process_hears_of_later_steps(clock: SteppedClock) -> None:
    asked, ask = os.pipe()
    answered, answer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.read(asked, 1)
            os.write(answer, str(time.time()).encode())
        finally:
            os._exit(0)
    right = datetime.now().timestamp()  # noqa: DTZ005

    clock.step(7200.0)
    os.write(ask, b"!")

    assert float(os.read(answered, 100)) - right == pytest.approx(7200, abs=30)
    os.waitpid(child, 0)
    for end in (asked, ask, answered, answer):
        os.close(end)
