"""The soft time limit: it reaches the task, it cannot be overheard, and it leaves no trace."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType

import pytest

from django_cluster.errors import TaskTimeout
from django_cluster.lifecycle.soft_timeout import soft_timeout
from tests.conftest import wait_until
from tests.sample.tasks import spin

SHORT = 0.02


@pytest.fixture(autouse=True)
def _no_other_alarm() -> Iterator[None]:
    """The limit of the test itself (pytest-timeout) uses the same timer: it waits for these few milliseconds."""
    handler = signal.getsignal(signal.SIGALRM)
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, left, interval)


def surroundings(_number: int, _frame: FrameType | None) -> None:
    """The handler of somebody else, in whose process we run."""


def test_a_body_that_overruns_is_interrupted() -> None:
    began = time.monotonic()

    with pytest.raises(TaskTimeout, match=r"0\.02 seconds"), soft_timeout(SHORT):
        spin(10)

    assert time.monotonic() - began < 5


def test_a_system_call_is_interrupted() -> None:
    with pytest.raises(TaskTimeout), soft_timeout(SHORT):
        time.sleep(10)


def test_an_ordinary_except_does_not_swallow_the_limit() -> None:
    with pytest.raises(TaskTimeout), soft_timeout(SHORT), suppress(Exception):
        spin(10)


def test_a_body_within_its_limit_is_left_alone() -> None:
    with soft_timeout(60):
        spin(0.001)

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_no_limit_sets_no_timer() -> None:
    with soft_timeout(None):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("overruns", [False, True])
def test_the_handler_and_the_timer_of_the_surrounding_code_are_put_back(overruns: bool) -> None:
    signal.signal(signal.SIGALRM, surroundings)
    signal.setitimer(signal.ITIMER_REAL, 1000, 50)

    with suppress(TaskTimeout), soft_timeout(SHORT if overruns else 60):
        spin(10 if overruns else 0)

    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert signal.getsignal(signal.SIGALRM) is surroundings
    assert 900 < left < 1000
    assert interval == 50


def test_an_alarm_of_the_surrounding_code_comes_no_later_than_it_should() -> None:
    signal.signal(signal.SIGALRM, surroundings)
    signal.setitimer(signal.ITIMER_REAL, 1000)

    with soft_timeout(60):
        spin(0.05)

    assert signal.getitimer(signal.ITIMER_REAL)[0] <= 999.95


def test_an_alarm_that_was_due_meanwhile_is_the_surroundings_own() -> None:
    rang: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _frame: rang.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)

    with soft_timeout(60):
        spin(0.05)

    wait_until(lambda: rang, because="the alarm was switched off")


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_whatever_the_body_raises_comes_through_and_the_timer_is_off(error: type[BaseException]) -> None:
    handler = signal.getsignal(signal.SIGALRM)

    with pytest.raises(error), soft_timeout(60):
        raise error

    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_outside_the_main_thread_the_body_just_runs() -> None:
    done = []

    def body() -> None:
        with soft_timeout(SHORT):
            done.append(signal.getitimer(signal.ITIMER_REAL))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()

    assert done == [(0.0, 0.0)]
