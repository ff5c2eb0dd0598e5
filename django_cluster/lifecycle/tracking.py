"""Keeps the row of a tracked task up to date while a process runs it; for tasks of Django's framework, its signals too.

Nothing here is called for a task that is not tracked. That a run begins is written before it, for several quick ones
together. How a quick run ended is written by the monitor, with the other outcomes of its batch; the worker writes it
where receivers of Django's framework may look, or another run may have begun. What a worker cannot write any more, the
monitor does (``stores.tracked_ends``).
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django_cluster.core.events.tasks import RETRY_DELAY_UNUSABLE, TRACKING_FAILED
from django_cluster.core.messages import Job, OutcomeStatus, RetryHint, TaskHeader, TaskOptions, TaskPackage, TrackedEnd
from django_cluster.core.settings import DeliverySettings, QueueSettings
from django_cluster.core.task_status import status_after
from django_cluster.errors import LONGEST_DURATION, StoreUnavailable
from django_cluster.lifecycle.ahead import ReadHeader, RunsAhead
from django_cluster.lifecycle.retry_policy import FINAL_STATUSES, is_last_run
from django_cluster.models.tracked_task import json_text as as_text
from django_cluster.stores.tracked import SendingDetails, TrackedTasks, moment
from django_cluster.stores.tracked_runs import BegunRun, Refusal, with_error

if TYPE_CHECKING:
    from django_cluster.framework.run import FrameworkRun
    from django_cluster.lifecycle.run_results import RunResult

RECORDED = frozenset({OutcomeStatus.SUCCESS, OutcomeStatus.FAILURE})
"""Ends of runs that the monitor can write: it records each of them."""
MAX_UNFENCED_SECONDS = 1.0
"""Seconds of a run up to which no other can have begun meanwhile: far less than any lease."""


def worker_id(cluster: str, host: str, pid: int, number: int) -> str:
    """The name of a worker in ``TaskResult.worker_ids``: at most 64 characters, the same for the life of a process."""
    tail = f":{pid}:{number}"
    return f"{cluster}:{host}"[: 64 - len(tail)] + tail


class RunTracker:
    """Makes ``TrackedRun`` objects, for one process that runs tasks."""

    def __init__(
        self,
        rows: TrackedTasks,
        delivery: DeliverySettings | None,
        *,
        queue_settings: Sequence[QueueSettings] = (),
        worker: str,
        keeps_rows: bool = False,
        leaves_ends: bool = False,
        settle: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``delivery``: what decides whether a failed task is tried again; None where nothing is (sync mode).

        ``leaves_ends``: whether a monitor records the outcomes, and can write the ends of quick runs with them.
        ``keeps_rows``: whether each success leaves a ``Task`` row, unless its options say otherwise.
        ``settle``: called after each run, before its end is written: ends a transaction that the task has left open.
        """
        self.rows, self.worker, self.settle, self.clock = rows, worker, settle, clock
        self._keeps_rows, self._leaves_ends = keeps_rows, leaves_ends
        self.ahead = RunsAhead(rows, worker)
        self._writing_seconds = 0.0
        self._last_func: str | None = None
        self._delivery = delivery
        self._delivery_by_queue = {each.queue: each.delivery for each in queue_settings}

    def begin(
        self, job: Job, header: TaskHeader, open_package: Callable[[], TaskPackage], read_header: ReadHeader
    ) -> TrackedRun | Refusal:
        """Write down that the task runs. Raises ``StoreUnavailable``; ``open_package`` is called if it has no row,
        ``read_header`` for other jobs, and may raise ``PackageError``."""

        def details() -> SendingDetails:
            return SendingDetails() if header.options.backend is None else details_of(open_package())

        now, began = self.clock(), time.monotonic()
        try:
            begun: BegunRun | Refusal | None = self.ahead.begin(job, header, now, read_header)
            if begun is None:
                begun = self.rows.begin(header, job.attempt, self.worker, now, details, handed_over=job.again)
        finally:
            self._writing_seconds, self._last_func = time.monotonic() - began, header.func
        return begun if isinstance(begun, Refusal) else TrackedRun(self, job, header, begun)

    def work_seconds(self, seconds: float) -> float:
        """How long a run like the last one takes, which took ``seconds``; to be asked once after each run.

        A tracked task writes to its database, and so waits for other processes: what it took is compared with the runs
        of its function before it, less what it took to write down that it had begun, perhaps together with others.
        """
        if (func := self._last_func) is None:
            return seconds
        self._last_func = None
        return self.ahead.observe(func, seconds - self._writing_seconds)

    def is_final(self, status: str, hint: str, job: Job, header: TaskHeader) -> bool:
        """Whether this run was the last, as the recorder will decide. Of a worker that dies, the monitor decides."""
        if status in FINAL_STATUSES or not job.receipt:  # in sync mode there is no later run
            return True
        if hint == RetryHint.SNOOZE:
            return False
        delivery = self._delivery_by_queue.get(job.queue, self._delivery)
        return delivery is None or is_last_run(status, hint, job.attempt, header.options, delivery)

    def leaves_end(self, status: OutcomeStatus, hint: RetryHint, seconds: float) -> bool:
        """Whether the monitor writes how a run of so many seconds ended.

        A longer run may have lost its lease, and is told by its row whether it was the last.
        """
        return (
            self._leaves_ends and status in RECORDED and hint is not RetryHint.SNOOZE and seconds < MAX_UNFENCED_SECONDS
        )

    def leaves_row(self, status: OutcomeStatus, options: TaskOptions) -> bool:
        """Whether the monitor certainly writes another row of this task, before its message is acknowledged."""
        saved = self._keeps_rows if options.save is None else options.save
        return status is not OutcomeStatus.SUCCESS or (saved and options.cached is None)


def details_of(package: TaskPackage) -> SendingDetails:
    """What the row of a task says beside its header. The arguments only of tasks of the framework, which are JSON."""
    options = package.header.options
    if options.backend is None:
        return SendingDetails()
    from django_cluster.framework.run import framework_queue

    queue_name = framework_queue(options.backend, options.queue)
    return SendingDetails(queue_name, [list(package.args), dict(package.kwargs)])


class TrackedRun:
    """One run of a tracked task, from the moment before its function is called."""

    def __init__(self, tracker: RunTracker, job: Job, header: TaskHeader, begun: BegunRun) -> None:
        self._tracker, self._job, self._header, self._begun = tracker, job, header, begun
        self._called_at = tracker.clock()
        self.framework: FrameworkRun | None = self._framework_run() if header.options.backend is not None else None
        """What is to be called instead of a plain function, for tasks of Django's framework."""

    def _framework_run(self) -> FrameworkRun:
        from django_cluster.framework.results import RunFacts
        from django_cluster.framework.run import FrameworkRun

        rows, header, begun = self._tracker.rows, self._header, self._begun
        later = header.options.not_before
        facts = RunFacts(
            enqueued_at=moment(header.enqueued_at),
            run_after=None if later is None else moment(later),
            started_at=begun.started_at,
            last_attempted_at=begun.last_attempted_at,
            worker_ids=begun.worker_ids,
            errors=begun.errors,
        )
        return FrameworkRun(
            header,
            facts,
            read_metadata=lambda: rows.metadata_of(header.id),
            save_metadata=lambda metadata: rows.save_metadata(header.id, begun, metadata),
        )

    def with_backoff(self, result: RunResult, error: BaseException) -> RunResult:
        """The result of a failed run, with the delay that the task's own ``backoff`` says."""
        if self.framework is None or result.retry_hint is RetryHint.STOP or not self._is_retried(result):
            return result
        try:
            delay = self.framework.backoff(error)
        except LookupError:
            return result
        except Exception as problem:  # noqa: BLE001  a function of the project
            RETRY_DELAY_UNUSABLE.log(function=self._header.func, attempt=self._job.attempt, error=problem)
            return result
        if delay is None:
            return result._replace(retry_hint=RetryHint.STOP)
        return result._replace(delay=max(0.0, min(float(delay), LONGEST_DURATION)))

    def _is_retried(self, result: RunResult) -> bool:
        return not self._tracker.is_final(result.status, result.retry_hint, self._job, self._header)

    def ended(self, status: OutcomeStatus, hint: RetryHint, error: BaseException | None) -> TrackedEnd | None:
        """Write how the run ended, and announce the end of a task of the framework. Call it inside the ``except``.

        Returns what the monitor writes instead, if nothing here has to wait for it.
        """
        self._tracker.settle()
        final = self._tracker.is_final(status, hint, self._job, self._header)
        kind = f"{type(error).__module__}.{type(error).__qualname__}" if error is not None else ""
        ended = status_after(status, final=final)
        finished_at = moment(self._tracker.clock()) if final else None
        errors = self._begun.errors if error is None else with_error(self._begun.errors, kind, _traceback(error))
        changes: dict[str, Any] = {"status": ended, "finished_at": finished_at, "errors": list(map(list, errors))}
        if hint == RetryHint.SNOOZE:
            changes["worker_ids"] = list(self._begun.worker_ids[:-1])  # a run that does not count
        if self.framework is not None and status is OutcomeStatus.SUCCESS:
            changes["return_value"] = self.framework.return_value
        now = self._tracker.clock()
        heard = final and self.framework is not None and self.framework.end_is_heard
        written: bool | None = None
        if heard or not self._tracker.leaves_end(status, hint, now - self._called_at):
            written = self._write(changes, lazy=final and self._tracker.leaves_row(status, self._header.options))
        if written is not False and final and self.framework is not None:
            self.framework.finished(ended, finished_at, errors)  # type: ignore[arg-type]  # it is final
        if written is not None or hint == RetryHint.SNOOZE:
            return None
        new_errors = None if error is None else as_text(changes["errors"])
        return TrackedEnd(self._begun.attempt, self._called_at, now, new_errors, as_text(changes.get("return_value")))

    def _write(self, changes: Mapping[str, Any], *, lazy: bool) -> bool | None:
        """False if a later run has begun. None if it cannot be written now, and is left to the monitor."""
        try:
            return self._tracker.rows.end(self._header.id, self._begun, lazy=lazy, **changes)
        except StoreUnavailable as error:
            TRACKING_FAILED.log(task_id=self._header.id, task_name=self._header.name, error=error)
            return None


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001  __repr__ and __str__ of what it shows are user code
        return "(the traceback of this exception cannot be shown)"
