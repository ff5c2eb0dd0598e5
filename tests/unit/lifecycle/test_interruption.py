"""A task that is cancelled ends as cancelled, whatever it makes of the exception, unless it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, Outcome, OutcomeStatus, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.signing import ValueSigner
from django_cluster.errors import Retry, Snooze, TaskCancelled
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.interruption import CancelPoint, NothingCancelled
from tests.conftest import make_settings
from tests.sealed import arguments_of

SIGNING = make_settings().signing
CODEC = Codec(SIGNING)
REQUEST = CancelRequest("a" * 32, by="ada")


class Cancels:
    """Of which a test says when something is cancelled."""

    def __init__(self, *, before: bool = False) -> None:
        self.requested = False
        self.request = REQUEST if before else None
        self.point = CancelPoint(lambda: self.requested)

    def request_for(self, header: TaskHeader) -> CancelRequest | None:
        return self.request


checks: list[Cancels] = []


def interrupt() -> None:
    """What the handler of the signal does."""
    checks[-1].requested, checks[-1].request = True, REQUEST
    checks[-1].point.interrupt()


def clean_up_and_fail() -> None:
    try:
        interrupt()
    finally:
        raise ValueError("the file is gone")


def leave(directive: type[Exception]) -> None:
    try:
        interrupt()
    except TaskCancelled:
        raise (Snooze(1) if directive is Snooze else Retry()) from None


def swallow_and_return() -> str:
    try:
        interrupt()
    except TaskCancelled:
        interrupt()  # once is enough
    return "done"


def never(*_: Any) -> None:
    pytest.fail("it was cancelled before")


def run(func: Callable[..., Any], *args: Any, before: bool = False, options: TaskOptions = TaskOptions()) -> Outcome:  # noqa: B008  frozen
    checks.append(Cancels(before=before))
    executor = Executor(
        CODEC, ValueSigner(SIGNING.secret), ErrorReporters({}), timeout=None, worker="w", cancels=checks[-1]
    )
    header = TaskHeader(id="a" * 32, name="n", func=f"{__name__}.{func.__name__}", enqueued_at=5.0, options=options)
    return executor.run(Job(1, CODEC.verify(CODEC.dumps(TaskPackage(header=header, args=args))), "r", 1))


def test_what_was_cancelled_before_it_began_is_not_called() -> None:
    outcome = run(never, 1, 2, before=True)

    assert (outcome.status, outcome.retry_hint) == (OutcomeStatus.CANCELLED, "stop")
    assert outcome.failure == ("django_cluster.errors.TaskCancelled", "Cancelled by ada.", "")
    assert arguments_of(outcome, SIGNING.secret)[0] == (1, 2)


@pytest.mark.parametrize(
    ("func", "args"), [(interrupt, ()), (clean_up_and_fail, ()), (leave, (Snooze,)), (leave, (Retry,))]
)
def test_what_a_cancelled_task_raises_makes_no_difference(func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    outcome = run(func, *args, options=TaskOptions(max_attempts=5))

    assert (outcome.status, outcome.retry_hint, outcome.payload) == (OutcomeStatus.CANCELLED, "stop", None)
    kind, message, traceback = outcome.failure or ("", "", "")
    assert (kind, message) == ("django_cluster.errors.TaskCancelled", "Cancelled by ada.")
    assert func.__name__ in traceback


def test_a_task_that_returns_all_the_same_has_succeeded() -> None:
    assert run(swallow_and_return).status == OutcomeStatus.SUCCESS


def test_the_next_task_is_not_cancelled() -> None:
    run(interrupt)
    assert run(swallow_and_return).status == OutcomeStatus.SUCCESS
    assert NothingCancelled().request_for(TaskHeader(id="a", name="", func="", enqueued_at=0.0)) is None
