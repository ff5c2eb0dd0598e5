"""Cancelling a run: an exception inside the task, and the checks before it.

A worker that runs one task at a time is interrupted by a signal, whose handler calls ``CancelPoint.interrupt`` in the
main thread. What runs tasks otherwise (an event loop, threads) needs a ``CancelPoint`` for each run, and its own way to
raise in that run alone.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.core.messages import FailureDetails, OutcomeStatus, RetryHint, TaskHeader, path_of_class
from django_cluster.errors import TaskCancelled
from django_cluster.lifecycle.failure_text import describe
from django_cluster.lifecycle.run_results import RunResult


class CancelPoint:
    """The part of a run in which it can be cancelled, as a context manager; it is entered anew for each run."""

    __slots__ = ("_armed", "_requested", "raised")

    def __init__(self, requested: Callable[[], bool] = lambda: False) -> None:
        """``requested``: whether the run that goes on is to be cancelled."""
        self._requested = requested
        self._armed = False
        self.raised = False
        """Whether ``TaskCancelled`` was raised in this run, or in the last one."""

    def __enter__(self) -> None:
        self.raised = False
        self._armed = True
        if self._requested():  # the request may be older than the run, and the signal before this moment
            self.interrupt()

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        self._armed = False

    def interrupt(self) -> None:
        """Raise ``TaskCancelled`` if that is requested of the present run; at most once, and in no other code."""
        if self._armed and not self.raised and self._requested():
            self.raised = True
            raise TaskCancelled


class CancelChecks(Protocol):
    """What an executor asks about cancelled tasks."""

    point: CancelPoint

    def request_for(self, header: TaskHeader) -> CancelRequest | None:
        """The request that covers a task, if there is one: it must not be run."""


class NothingCancelled:
    """Where no task can be cancelled: in sync mode and in tests."""

    def __init__(self) -> None:
        self.point = CancelPoint()

    def request_for(self, header: TaskHeader) -> CancelRequest | None:
        """None."""
        return None


def cancelled(request: CancelRequest | None, error: BaseException | None = None) -> RunResult:
    """The result of a run that was cancelled. ``error``: what it has raised; None if it had not begun."""
    traceback = "" if error is None else describe(error).traceback
    sentence = (request or CancelRequest("")).sentence
    failure = FailureDetails(path_of_class(TaskCancelled), sentence, traceback)
    return RunResult(OutcomeStatus.CANCELLED, failure=failure, error=error, retry_hint=RetryHint.STOP)
