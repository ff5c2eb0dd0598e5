"""A task that has done its work and returns what cannot be kept is not run again."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, Outcome, OutcomeStatus, RetryHint, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.signing import ValueSigner
from django_cluster.errors import Retry
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.retry_policy import decide_retry
from tests.conftest import make_settings

SETTINGS = make_settings()
CODEC = Codec(SETTINGS.signing)


class Stubborn:
    """A value whose own method decides what happens when it is pickled."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def __reduce__(self) -> Any:
        return self.act()


def leave() -> None:
    raise SystemExit(3)


def ask_for_another_run() -> None:
    raise Retry(delay=1)


def hang() -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        pass


def numbers() -> Iterator[int]:
    yield 1


def local_class() -> object:
    class Local:
        pass

    return Local()


def deep(levels: int = 100_000) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


RESULTS: dict[str, Callable[[], Any]] = {
    "a lock": threading.Lock,
    "a generator": numbers,
    "an open file": lambda: sys.__stdout__,
    "an object of a local class": local_class,
    "a function": lambda: lambda: None,
    "lists in lists": deep,
    "a value that exits": lambda: Stubborn(leave),
    "a value that wants another run": lambda: Stubborn(ask_for_another_run),
    "a value that hangs": lambda: Stubborn(hang),
}


def give(what: str) -> Any:
    return RESULTS[what]()


def give_a_complex_number() -> complex:
    return 1j


def run(func: Callable[..., Any], *args: Any, serializer: str = "pickle") -> Outcome:
    seal = ValueSigner(SETTINGS.signing.secret, (), serializer)
    used = Executor(
        CODEC, seal, ErrorReporters({}), timeout=0.5 if args == ("a value that hangs",) else None, worker="w 1"
    )
    options = TaskOptions(max_attempts=0, retry_on=("django_cluster.errors.NotSerializable",))
    header = TaskHeader(id="1", name="n", func=f"{__name__}.{func.__name__}", enqueued_at=0.0, options=options)
    return used.run(Job(1, CODEC.verify(CODEC.dumps(TaskPackage(header=header, args=args))), "", 1))


@pytest.mark.parametrize("what", RESULTS)
def test_it_is_a_final_failure_that_says_so(what: str) -> None:
    assert_final(run(give, what))


def test_the_same_with_json() -> None:
    assert_final(run(give_a_complex_number, serializer="json"))


def assert_final(outcome: Outcome) -> None:
    assert (outcome.status, outcome.retry_hint) == (OutcomeStatus.FAILURE, RetryHint.STOP)
    assert decide_retry(outcome, SETTINGS.delivery).final
    assert outcome.result is None
    assert outcome.failure is not None
    kind, message, traceback = outcome.failure
    assert kind == "django_cluster.errors.NotSerializable"
    assert message.startswith("The task has ended, but its result cannot be kept, and it is not run again. ")
    assert traceback
