"""How the function of a task ended, and what follows from the exception that it raised."""

from __future__ import annotations

from typing import NamedTuple

from django_cluster.core.messages import (
    FailureDetails,
    OutcomeStatus,
    RetryHint,
    TaskHeader,
    TaskOptions,
    TrackedEnd,
    path_of_class,
)
from django_cluster.core.reprs import repr_of
from django_cluster.errors import NotSerializable, Retry, Snooze, TaskDirective, TaskExpired
from django_cluster.lifecycle.failure_text import describe

TRY_AGAIN_SECONDS = 5.0
"""Seconds after which a task is tried again whose row cannot be written, or of which another run is going on."""


class RunResult(NamedTuple):
    """How the function itself ended."""

    status: OutcomeStatus
    result: bytes | None = None
    failure: FailureDetails | None = None
    error: BaseException | None = None
    retry_hint: RetryHint = RetryHint.NONE
    delay: float | None = None
    tracked_end: TrackedEnd | None = None
    """For the row of a tracked task, if the monitor writes it."""
    keeps_checkpoint: bool = False
    """Whether something is kept for the next run, which must be deleted if there is none."""
    post_mortem: bytes | None = None

    def __repr__(self) -> str:
        return repr_of(self, "status", "retry_hint", "delay")


def snoozed(error: BaseException) -> RunResult:
    """The result of a run that did not begin, and will be tried again without using an attempt."""
    return RunResult(OutcomeStatus.SNOOZED, None, describe(error), None, RetryHint.SNOOZE, TRY_AGAIN_SECONDS)


def unstorable_result(error: BaseException) -> NotSerializable:
    """The failure of a task that has returned, with a result that cannot be kept: final, because its work is done.

    Another run would do the work again and return the same. Whatever stopped the writing of the result is the cause, be
    it the time limit, or what the object's own methods raised.
    """
    reason = str(error) if isinstance(error, NotSerializable) else f"{type(error).__name__} while it was written."
    failure = NotSerializable(f"The task has ended, but its result cannot be kept, and it is not run again. {reason}")
    failure.__cause__ = error
    return failure


def apply_directive(directive: TaskDirective) -> RunResult:
    """What a task that raised ``Retry``, ``Snooze`` or ``Discard`` gets."""
    failure = describe(directive, with_traceback=directive.__cause__ is not None)
    if isinstance(directive, Retry):
        return RunResult(OutcomeStatus.FAILURE, None, failure, directive, RetryHint.RETRY, directive.delay)
    if isinstance(directive, Snooze):
        return RunResult(OutcomeStatus.SNOOZED, None, failure, None, RetryHint.SNOOZE, directive.delay)
    return RunResult(OutcomeStatus.DISCARDED, None, failure, directive, RetryHint.STOP)


def expired(header: TaskHeader, now: float) -> RunResult:
    """What a task gets that was leased too late. ``now``: Unix time."""
    late = now - (header.options.expires_at or now)
    error = TaskExpired(f"It expired {late:.1f} seconds before a worker could run it.")
    return RunResult(OutcomeStatus.EXPIRED, None, describe(error, with_traceback=False), error, RetryHint.STOP)


def is_retryable(error: BaseException, options: TaskOptions) -> bool:
    """``retry_on`` and ``no_retry_on`` name exceptions by their paths, subclasses included."""
    if not options.retry_on and not options.no_retry_on:
        return True
    family = {path_of_class(kind) for kind in type(error).__mro__}
    if family.intersection(options.no_retry_on):
        return False
    return not options.retry_on or bool(family.intersection(options.retry_on))
