"""The tree of errors stands as it is drawn, and every one of them can speak."""

from __future__ import annotations

import math
import pickle
import re
from datetime import timedelta
from typing import Any

import pytest

from django_cluster import errors
from django_cluster.errors import (
    BadSignature,
    BrokerUnavailable,
    ClusterError,
    Discard,
    InvalidSettings,
    Problem,
    Retry,
    Snooze,
    TaskTimeout,
)

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
PROBLEM = Problem("E001", "workers", "workers cannot be negative.", "Write a number from 1.")


def arguments_of(kind: type[BaseException]) -> tuple[Any, ...]:
    return {InvalidSettings: ([PROBLEM],), Snooze: (5,)}.get(kind, ())


def drawn() -> list[tuple[str, str]]:
    """(error, the error above it) of every line of the drawing, in its order."""
    above: dict[int, str] = {}
    found = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}([ │├└─]*)([A-Z]\w+)", line)
        if match:
            depth = len(match[1]) // 4
            above[depth] = match[2]
            found.append((match[2], above.get(depth - 1, "")))
    return found


def test_every_error_is_in_the_drawing() -> None:
    assert sorted(name for name, _ in drawn()) == sorted(kind.__name__ for kind in KINDS)


@pytest.mark.parametrize(("name", "above"), drawn())
def test_the_drawing_is_true(name: str, above: str) -> None:
    if above:
        assert getattr(errors, above) in getattr(errors, name).__bases__


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, ClusterError)], ids=lambda k: k.__name__)
def test_every_error_says_a_sentence_even_without_a_message(kind: type[BaseException]) -> None:
    assert len(str(kind(*arguments_of(kind)))) > 10


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_error_can_be_pickled(kind: type[BaseException]) -> None:
    error = kind(*arguments_of(kind))

    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_message_goes_before_the_sentence_of_the_class() -> None:
    assert str(BrokerUnavailable("connection refused")) == "connection refused"
    assert "signature does not match" in str(BadSignature())


def test_invalid_settings_list_every_problem() -> None:
    second = Problem("E002", "retry", "retry cannot be 0.")

    text = str(InvalidSettings([PROBLEM, second]))

    assert text.splitlines() == [
        "Q_CLUSTER cannot be used:",
        "- workers cannot be negative. Write a number from 1. (E001)",
        "- retry cannot be 0. (E002)",
    ]


def test_a_warning_is_no_error() -> None:
    assert PROBLEM.is_error
    assert not Problem("W001", "", "").is_error


def test_a_timeout_is_not_swallowed_by_an_ordinary_except() -> None:
    assert not issubclass(TaskTimeout, Exception)


@pytest.mark.parametrize(("given", "seconds"), [(5, 5.0), (0, 0.0), (timedelta(minutes=1), 60.0)])
def test_a_wish_takes_seconds_or_a_timedelta(given: float | timedelta, seconds: float) -> None:
    assert Retry(given).delay == Snooze(given).delay == seconds


@pytest.mark.parametrize("delay", [-1, math.nan, math.inf, timedelta(seconds=-1)])
def test_a_wish_cannot_be_for_the_past_or_for_never(delay: float | timedelta) -> None:
    with pytest.raises(ValueError, match="delay"):
        Snooze(delay)
    with pytest.raises(ValueError, match="delay"):
        Retry(delay)


def test_a_wish_comes_through_a_process_pool_whole() -> None:
    wish = pickle.loads(pickle.dumps(Retry(30, "the service is busy")))

    assert (wish.delay, str(wish)) == (30.0, "the service is busy")


def test_a_wish_may_give_its_reason() -> None:
    assert str(Discard("the order was cancelled")) == "the order was cancelled"
    assert Retry().delay is None
