"""``wait_for``: looking again until there is something, or the time is up."""

from __future__ import annotations

import time

import pytest

from django_cluster.stores.base import UNFINISHED, Unfinished, wait_for


class Reader:
    """Has nothing to say for some looks, and then a value."""

    def __init__(self, looks: int, value: object) -> None:
        self.looks = 0
        self._empty = looks
        self._value = value

    def __call__(self) -> object | Unfinished:
        self.looks += 1
        return UNFINISHED if self.looks <= self._empty else self._value


@pytest.fixture
def started() -> float:
    return time.monotonic()


def test_no_time_is_one_look() -> None:
    reader = Reader(5, "value")

    assert wait_for(reader, 0) is UNFINISHED
    assert reader.looks == 1


def test_a_value_that_is_there_is_returned_at_once() -> None:
    assert wait_for(Reader(0, "value"), 0) == "value"


def test_none_is_a_value() -> None:
    assert wait_for(Reader(3, None), 5000) is None


def test_a_value_that_comes_in_time_is_returned() -> None:
    assert wait_for(Reader(5, "value"), 5000) == "value"


def test_the_time_is_kept(started: float) -> None:
    assert wait_for(Reader(10_000, "value"), 60) is UNFINISHED

    assert 0.06 <= time.monotonic() - started < 2


def test_a_negative_time_waits_for_ever() -> None:
    assert wait_for(Reader(8, "value"), -1) == "value"


def test_long_waits_look_seldom() -> None:
    reader = Reader(10_000, "value")

    wait_for(reader, 200)

    assert reader.looks <= 25
