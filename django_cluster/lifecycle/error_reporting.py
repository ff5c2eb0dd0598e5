"""Error reporters: loaded by name, called with failed runs, and unable to break a task.

A reporter offers ``report_run(run)`` (see ``reporters.base``), or one of the simpler forms, which are called in the
worker only, inside the ``except`` of the failed task: ``report(error, package)``, or Django-Q's ``report()``.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from django_cluster.core.events.tasks import ERROR_REPORTER_FAILED, ERROR_REPORTER_UNUSABLE
from django_cluster.core.messages import (
    KILLED_FOR_TIMEOUT,
    Outcome,
    OutcomeStatus,
    RetryHint,
    TaskPackage,
    path_of_class,
)
from django_cluster.core.settings import DeliverySettings, QueueSettings
from django_cluster.lifecycle.retry_policy import is_last_run
from django_cluster.lifecycle.soft_timeout import soft_timeout
from django_cluster.reporters import SHIPPED
from django_cluster.reporters.base import FailedRun

ENTRY_POINT_GROUPS = ("django_cluster.error_reporters", "djangoq.errorreporters")
"""Ours first; the second is Django-Q's, whose plugins keep working."""

REPORT_TIMEOUT = 10.0
"""Seconds that one reporter may take over one report: its worker, or the notifier, waits for it."""
FLUSH_TIMEOUT = 3.0
"""Seconds that a process waits for its reports to leave."""


class ReporterNotInstalled(LookupError):
    """There is no such reporter, or its library is missing: the sentence says what, and a traceback no more."""


@dataclass(frozen=True, slots=True)
class LoadedReporter:
    """A reporter, and how it wants to be called."""

    name: str
    call: Callable[[FailedRun], None]
    accepts_text: bool
    """Whether it can do with a failure of which there is no exception."""
    only_final: bool
    flush: Callable[[float], None] | None


class ErrorReporters:
    """All configured reporters as one; a reporter that fails is logged and changes nothing.

    ``delivery``: what decides whether a failed task is tried again; None where nothing is (sync mode).
    ``queue_settings``: for each queue of a cluster that works on several.
    """

    def __init__(
        self,
        configured: Mapping[str, Mapping[str, Any]],
        *,
        queue: str = "",
        worker: str = "",
        delivery: DeliverySettings | None = None,
        queue_settings: Sequence[QueueSettings] = (),
    ) -> None:
        self._queue, self._worker, self._delivery = queue, worker, delivery
        self._delivery_by_queue = {each.queue: each.delivery for each in queue_settings}
        self._reporters: list[LoadedReporter] = []
        for name, options in configured.items():
            try:
                self._reporters.append(_loaded(name, _find(name)(**options)))
            except ReporterNotInstalled as error:
                ERROR_REPORTER_UNUSABLE.log(reporter=name, error=error)
            except Exception as error:  # noqa: BLE001  a reporter is code of others
                ERROR_REPORTER_UNUSABLE.log(reporter=name, error=error, exc_info=True)

    def __len__(self) -> int:
        return len(self._reporters)

    def report(
        self,
        error: BaseException,
        package: TaskPackage,
        attempt: int = 1,
        retry_hint: RetryHint = RetryHint.NONE,
        status: OutcomeStatus = OutcomeStatus.FAILURE,
        queue: str = "",
    ) -> None:
        """A task raised; called in its worker, inside the ``except``."""
        if not self._reporters:
            return
        header = package.header
        options = header.options
        delivery = self._delivery_by_queue.get(queue, self._delivery)
        run = FailedRun(
            id=header.id,
            name=header.name,
            func=header.func,
            group=options.group,
            queue=queue or options.queue or self._queue,
            attempt=attempt,
            final=delivery is None or is_last_run(status, retry_hint, attempt, options, delivery),
            worker=self._worker,
            kind=path_of_class(type(error)),
            message=_message(error),
            error=error,
            package=package,
        )
        self._report(run)

    def report_outcome(self, outcome: Outcome) -> None:
        """Report a recorded failure, unless its worker has reported it."""
        if not self._reporters or not is_unreported(outcome):
            return
        kind, message, traceback = outcome.failure or ("", "", "")
        run = FailedRun(
            id=outcome.id,
            name=outcome.name,
            func=outcome.func,
            group=outcome.options.get("group"),
            queue=outcome.queue or outcome.options.get("queue") or self._queue,
            attempt=outcome.attempt,
            final=outcome.final,
            worker=outcome.worker,
            kind=kind,
            message=message,
            traceback=traceback,
        )
        self._report(run)

    def _report(self, run: FailedRun) -> None:
        for reporter in self._reporters:
            if (reporter.only_final and not run.final) or (run.error is None and not reporter.accepts_text):
                continue
            try:
                with soft_timeout(REPORT_TIMEOUT):
                    reporter.call(run)
            except BaseException as error:  # noqa: BLE001  a reporter that exits must not end its process
                ERROR_REPORTER_FAILED.log(reporter=reporter.name, error=error, exc_info=True)

    def flush(self, seconds: float = FLUSH_TIMEOUT) -> None:
        """Let what waits be sent, before this process ends; waits so long for all of them together."""
        deadline = time.monotonic() + seconds
        threads = [
            threading.Thread(target=_flush, args=(each.name, each.flush, seconds), daemon=True)
            for each in self._reporters
            if each.flush is not None
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def is_unreported(outcome: Outcome) -> bool:
    """Whether the worker could not tell: it died, the message was no task, or the task asked for one run too many."""
    if outcome.status in (OutcomeStatus.LOST, OutcomeStatus.DEAD, OutcomeStatus.REJECTED):
        return True
    if outcome.status == OutcomeStatus.TIMEOUT:
        return outcome.failure is not None and outcome.failure[1].startswith(KILLED_FOR_TIMEOUT)
    return outcome.status == OutcomeStatus.FAILURE and outcome.final and outcome.retry_hint == RetryHint.RETRY


def _flush(name: str, flush: Callable[[float], None], seconds: float) -> None:
    try:
        flush(seconds)
    except Exception as error:  # noqa: BLE001  a reporter is code of others
        ERROR_REPORTER_FAILED.log(reporter=name, error=error, exc_info=True)


def _loaded(name: str, reporter: Any) -> LoadedReporter:
    only_final = bool(getattr(reporter, "only_final", False))
    flush = getattr(reporter, "flush", None)
    if hasattr(reporter, "report_run"):
        return LoadedReporter(name, reporter.report_run, True, only_final, flush)
    report = reporter.report
    takes_nothing = not inspect.signature(report).parameters

    def call(run: FailedRun) -> None:
        if takes_nothing:  # Django-Q's plugins look at sys.exc_info()
            report()
        else:
            report(run.error, run.package)

    return LoadedReporter(name, call, False, only_final, flush)


def is_offered(name: str) -> bool:
    """Whether an installed package, or this one, has a reporter of this name. A dotted path is not looked up."""
    return name in SHIPPED or "." in name or any(entry_points(group=each, name=name) for each in ENTRY_POINT_GROUPS)


def _find(name: str) -> Any:
    """The class behind the name of an entry point, of one that we ship, or behind a dotted path."""
    paths = [point.value for group in ENTRY_POINT_GROUPS for point in entry_points(group=group, name=name)]
    if name in SHIPPED:
        # Before a plugin of Django-Q with the same name, and in a checkout that is not installed.
        paths = [SHIPPED[name]]
    elif not paths and "." in name:
        paths = [name]
    if not paths:
        raise ReporterNotInstalled(f"No installed package offers an error reporter named {name!r}.")
    module, _, attribute = paths[0].replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if name in SHIPPED:
            raise ReporterNotInstalled(
                f"The library {error.name} is missing: pip install 'django-cluster[{name}]'"
            ) from error
        raise


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001  __str__ is user code, and may even exit
        return ""
