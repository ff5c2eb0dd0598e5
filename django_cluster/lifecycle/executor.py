"""The second verb: job → opened → found → announced → run within its limit → outcome.

Whatever a task does is its own failure: every step catches everything, and what comes out is an
``Outcome`` of plain values that any process can read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from types import CoroutineType
from typing import Any

from django_cluster.core.call_options import option_hint
from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.core.codec import Codec
from django_cluster.core.compositions import may_have_succeeded
from django_cluster.core.correlation import enter_task
from django_cluster.core.current_task import CHECKPOINT, CurrentTask, RunEnvironment, enter_run
from django_cluster.core.messages import (
    Job,
    Outcome,
    OutcomeStatus,
    RetryHint,
    TaskHeader,
    TaskPackage,
)
from django_cluster.core.sealed_rows import result_context
from django_cluster.core.signing import ValueSigner
from django_cluster.core.task_callable import TaskCallable, TaskContext
from django_cluster.errors import (
    NotFinished,
    PackageError,
    StoreUnavailable,
    TaskCancelled,
    TaskDirective,
    TaskTimeout,
    UnsuitableFunction,
)
from django_cluster.lifecycle.admission import allowed_functions, check_age, has_expired
from django_cluster.lifecycle.async_run import AsyncRun, PendingCall, run_here
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.failure_text import describe
from django_cluster.lifecycle.fault_injection import FaultInjection
from django_cluster.lifecycle.interruption import CancelChecks, NothingCancelled, cancelled
from django_cluster.lifecycle.middleware_stack import middleware_stack
from django_cluster.lifecycle.rejection import rejected_outcome
from django_cluster.lifecycle.run_observation import RunObserver
from django_cluster.lifecycle.run_results import (
    RunResult,
    apply_directive,
    expired,
    is_retryable,
    snoozed,
    unstorable_result,
)
from django_cluster.lifecycle.signal_dispatch import changed_by_receivers, send_signal
from django_cluster.lifecycle.soft_timeout import soft_timeout
from django_cluster.lifecycle.task_context import InitialContext
from django_cluster.lifecycle.tracking import RunTracker, TrackedRun
from django_cluster.signals import post_execute_in_worker, pre_execute

NO_LIMIT = nullcontext()

OnStart = Callable[[TaskHeader, float | None], None]
"""Told the dotted path of the function and its limit in seconds, before anything of the user's runs."""


class Executor:
    """Runs jobs, one at a time, in the process that holds it."""

    def __init__(
        self,
        codec: Codec,
        seal: ValueSigner,
        reporters: ErrorReporters,
        *,
        timeout: float | None,
        timeouts: Mapping[str, float | None] | None = None,
        worker: str,
        has_succeeded: Callable[[TaskHeader], bool] = lambda header: False,
        clock: Callable[[], float] = time.time,
        initial: InitialContext | None = None,
        paused: Callable[[str], float | None] = lambda func: None,
        cancels: CancelChecks | None = None,
        tracker: RunTracker | None = None,
        environment: RunEnvironment | None = None,
        observer: RunObserver | None = None,
    ) -> None:
        """``timeout``: seconds that a task may run; ``timeouts``: by queue, where a cluster works on several.

        ``has_succeeded``: whether a member of a composition has succeeded before, and is not run; called for no other
        task. ``initial``: the context in which every task starts; None: the context of the caller of ``run``.
        ``paused``: the seconds after which a task of a function is to come again, because it is paused; None: it is
        not.
        ``cancels``: which tasks are cancelled; None: none can be.
        ``tracker``: keeps the rows of tracked tasks. ``environment``: what ``current_task()`` knows beside the task.
        ``observer``: explains runs that fail.
        """
        self._codec = codec
        self._allowed = allowed_functions(codec.signing.functions)
        self._longest_age = codec.signing.max_message_age
        self._middleware = middleware_stack(codec.signing.middleware) if codec.signing.middleware else None
        self._seal = seal
        self._reporters = reporters
        self._timeout = timeout
        self._timeouts = timeouts or {}
        self._worker = worker
        self._has_succeeded = has_succeeded
        self._clock = clock
        self._initial = initial
        self._paused = paused
        self._cancels = cancels or NothingCancelled()
        self._tracker = tracker
        self._environment = environment or RunEnvironment()
        self._observer = observer

    def timeout_of(self, header: TaskHeader, queue: str = "") -> float | None:
        """Seconds that a task from this queue may run; None = no limit."""
        timeout = header.options.timeout
        if timeout is None:
            timeout = self._timeouts.get(queue, self._timeout)
        return timeout if timeout is not None and timeout > 0 else None

    def _header_of(self, job: Job) -> TaskHeader:
        return self._codec_of(job).split(job.body)[0]

    def _codec_of(self, job: Job) -> Codec:
        return self._codec.for_queue(job.queue) if job.queue else self._codec

    def look_ahead(self, jobs: Iterable[Job]) -> None:
        """The jobs that will be run next, in order: several tracked tasks can be written down as running together."""
        if self._tracker is not None:
            self._tracker.ahead.waiting = jobs

    def take_back(self, jobs: Sequence[Job]) -> None:
        """Note that jobs are not run here."""
        if self._tracker is not None:
            self._tracker.ahead.take_back(jobs)

    def work_seconds(self, seconds: float) -> float:
        """How long a run like the last one takes. ``seconds``: how long it took; to be asked once after each run."""
        return seconds if self._tracker is None else self._tracker.work_seconds(seconds)

    def run(self, job: Job, started: OnStart | None = None) -> Outcome:
        """Run a job; raises nothing, except by a signal between two tasks. ``started``: called before the task."""
        return self.run_with_error(job, started)[0]

    def run_with_error(self, job: Job, started: OnStart | None = None) -> tuple[Outcome, BaseException | None]:
        """Run a job; returns its outcome, and the exception itself for a caller in the same process (sync mode).

        The coroutine of an ``async def`` task is run to its end.
        """
        begun = self._run(job, started, concurrent=False)
        assert not isinstance(begun, AsyncRun)
        return begun

    def begin(self, job: Job, started: OnStart | None = None) -> Outcome | AsyncRun:
        """Run a job, as ``run`` does. Of an ``async def`` task, return the coroutine instead, which has to be run."""
        begun = self._run(job, started, concurrent=True)
        return begun if isinstance(begun, AsyncRun) else begun[0]

    def _run(
        self, job: Job, started: OnStart | None, *, concurrent: bool
    ) -> tuple[Outcome, BaseException | None] | AsyncRun:
        started_at, began = self._clock(), time.monotonic()
        try:
            codec = self._codec_of(job)
            header, arguments = codec.split(job.body)
        except PackageError as error:
            return self._rejected(job, error, started_at), error
        if (delay := self._paused(header.func)) is not None:
            self.take_back([job])
            waits = RunResult(OutcomeStatus.SNOOZED, retry_hint=RetryHint.SNOOZE, delay=delay)
            return self._outcome(job, header, waits, started_at, b""), None
        limit = self.timeout_of(header, job.queue)
        if started is not None:
            started(header, limit)
        if (request := self._cancels.request_for(header)) is not None:
            self.take_back([job])
            sealed = codec.seal_arguments(job.body, header, arguments)
            return self._outcome(job, header, cancelled(request), started_at, sealed), TaskCancelled(request.sentence)
        initial = self._initial or InitialContext()
        result = initial.run(self._open_and_call, job, header, arguments, limit, concurrent)
        if isinstance(result, PendingCall):
            return AsyncRun(self, job, header, arguments, result, started_at, limit and began + limit, limit)
        return self._concluded(job, header, arguments, result, started_at)

    def _concluded(
        self, job: Job, header: TaskHeader, arguments: bytes, result: RunResult, started_at: float
    ) -> tuple[Outcome, BaseException | None]:
        if result.status is OutcomeStatus.REJECTED and result.error is not None:
            return self._rejected(job, result.error, started_at), result.error
        success = result.status is OutcomeStatus.SUCCESS
        sealed = self._codec_of(job).seal_arguments(job.body, header, arguments, success=success)
        return self._outcome(job, header, result, started_at, sealed), result.error

    def _open_and_call(
        self, job: Job, header: TaskHeader, arguments: bytes, limit: float | None, concurrent: bool
    ) -> RunResult | PendingCall:
        tracked: TrackedRun | None = None
        if self._tracker is not None and header.options.tracked:
            begun = self._begin(self._tracker, job, header, arguments)
            if isinstance(begun, RunResult):
                return begun
            tracked = begun
        ends_at = None if limit is None else time.monotonic() + limit
        run = CurrentTask(header, job.attempt, job.queue, ends_at, self._environment)
        enter_run(run)
        result = self._run_within(job, header, arguments, limit, tracked, concurrent)
        if isinstance(result, PendingCall):
            return result._replace(current=run)
        return result._replace(keeps_checkpoint=True) if run.keeps_checkpoint else result

    def _begin(self, tracker: RunTracker, job: Job, header: TaskHeader, arguments: bytes) -> TrackedRun | RunResult:
        """Write down that a tracked task runs; the result of the run, if it may not begin."""
        try:
            begun = tracker.begin(job, header, lambda: self._codec.open(job.body, header, arguments), self._header_of)
        except PackageError as error:
            return RunResult(OutcomeStatus.REJECTED, error=error)
        except StoreUnavailable as error:
            return snoozed(error)
        except Exception as error:  # noqa: BLE001  such as Django's framework, which is not installed here
            return RunResult(OutcomeStatus.FAILURE, failure=describe(error), error=error)
        if isinstance(begun, TrackedRun):
            return begun
        return RunResult(OutcomeStatus.DUPLICATE) if begun.ended else snoozed(NotFinished("Another run is going on."))

    def _run_within(
        self,
        job: Job,
        header: TaskHeader,
        arguments: bytes,
        limit: float | None,
        tracked: TrackedRun | None,
        concurrent: bool,
    ) -> RunResult | PendingCall:
        """Everything that may run user code, unpickling and importing too, is inside the limit."""
        enter_task(header, job.attempt)
        if self._observer is not None:
            self._observer.begin()
        package: TaskPackage | None = None
        result: RunResult | None = None
        called = False
        try:
            with self._cancels.point, NO_LIMIT if limit is None else soft_timeout(limit):
                result = self._not_to_be_run(job, header)
                if result is None:
                    try:
                        check_age(header, self._clock(), self._longest_age)
                        func = self._load(header, tracked)  # first: its module imports the classes of its arguments
                        package = self._codec.open(job.body, header, arguments)
                    except UnsuitableFunction:
                        raise
                    except PackageError as error:
                        result = RunResult(OutcomeStatus.REJECTED, error=error)
                if package is not None:
                    value = self._call(func, package, job.attempt, tracked, concurrent)
                    if concurrent and type(value) is CoroutineType:
                        return PendingCall(value, func, package, tracked, copy_context())
                    called = True
                    sealed = self._seal.dumps(value, result_context(header.id))
                    result = RunResult(OutcomeStatus.SUCCESS, sealed)
        except BaseException as error:  # noqa: BLE001  SystemExit and its like are the task's failure, not ours
            if result is None:
                package = package or TaskPackage(header=header)
                interrupted = self._cancels.point.raised and not called
                failed = self._failure(error, package, job, tracked, called=called, interrupted=interrupted)
                return _ended(tracked, failed)
            # Else the limit has passed in the last moment: all is done.
        assert result is not None
        return _ended(tracked, result)

    def _not_to_be_run(self, job: Job, header: TaskHeader) -> RunResult | None:
        """The result of a task that has succeeded before, or has expired; None: it is to be run."""
        if header.options.member and may_have_succeeded(header, job.attempt) and self._has_succeeded(header):
            return RunResult(OutcomeStatus.DUPLICATE)
        if has_expired(header, now := self._clock()):
            return expired(header, now)
        return None

    def _failure(
        self,
        error: BaseException,
        package: TaskPackage,
        job: Job,
        tracked: TrackedRun | None,
        *,
        called: bool,
        interrupted: bool = False,
    ) -> RunResult:
        """What an exception makes of the run; ``called``: the function had returned; ``interrupted``: to cancel it."""
        if isinstance(error, TaskCancelled) or interrupted:
            return cancelled(self._cancels.request_for(package.header), error)
        if called:
            return self._failed(OutcomeStatus.FAILURE, unstorable_result(error), package, job, RetryHint.STOP)
        if isinstance(error, TaskDirective):
            return apply_directive(error)
        status = OutcomeStatus.TIMEOUT if isinstance(error, TaskTimeout) else OutcomeStatus.FAILURE
        result = self._failed(status, error, package, job)
        return result if tracked is None else tracked.with_backoff(result, error)

    def _load(self, header: TaskHeader, tracked: TrackedRun | None) -> Callable[..., Any]:
        if tracked is None or tracked.framework is None:
            self._allowed.check(header.func)
            return self._allowed.load(header.func)
        self._allowed.check_declared(header.func)
        task: Callable[..., Any] = tracked.framework.load()
        return task

    def _call(
        self,
        func: Callable[..., Any],
        package: TaskPackage,
        attempt: int,
        tracked: TrackedRun | None = None,
        concurrent: bool = False,
    ) -> object:
        """What the function returns; with ``concurrent``, that may be a coroutine."""
        if pre_execute.receivers:
            package = changed_by_receivers(pre_execute, package, func=func)
        try:
            if FaultInjection.before_call is not None:
                FaultInjection.before_call(package.header, attempt)
            if self._middleware is None:
                result = called(func, package, attempt, tracked)
            else:
                innermost = partial(called, func, package, attempt, tracked)
                result = self._middleware.around(func, package, attempt, innermost)()
            if type(result) is CoroutineType:
                if concurrent:
                    return result
                result = run_here(result)
        except BaseException as error:
            if post_execute_in_worker.receivers:
                send_signal(post_execute_in_worker, func=func, task=package, result=None, error=error)
            raise
        if post_execute_in_worker.receivers:
            send_signal(post_execute_in_worker, func=func, task=package, result=result, error=None)
        return result

    # ── coroutines ───────────────────────────────────────────────────────────────────────────────

    def cancel_request(self, header: TaskHeader) -> CancelRequest | None:
        """The request to cancel a task, if there is one. May ask the database."""
        return self._cancels.request_for(header)

    def concludes_slowly(self, run: AsyncRun, error: BaseException | None) -> bool:
        """Whether the end of this run waits for a server, or calls code of the project."""
        explains = self._observer is not None or len(self._reporters) > 0
        asks = isinstance(error, TaskCancelled) or (error is not None and explains)
        return asks or run.call.tracked is not None or bool(post_execute_in_worker.receivers)

    def conclude(self, run: AsyncRun, value: Any, error: BaseException | None) -> Outcome:
        """The outcome of a coroutine that has returned ``value`` or raised ``error``."""
        job, header, call = run.job, run.header, run.call
        if post_execute_in_worker.receivers:
            send_signal(post_execute_in_worker, func=call.func, task=call.package, result=value, error=error)
        try:
            if error is not None:
                raise error
            sealed = self._seal.dumps(value, result_context(header.id))
            result = _ended(call.tracked, RunResult(OutcomeStatus.SUCCESS, sealed))
        except BaseException as problem:  # noqa: BLE001  SystemExit and its like are the task's failure, not ours
            failed = self._failure(problem, call.package, job, call.tracked, called=error is None)
            result = _ended(call.tracked, failed)
        if call.current is not None and call.current.keeps_checkpoint:
            result = result._replace(keeps_checkpoint=True)
        return self._concluded(job, header, run.arguments, result, run.started_at)[0]

    def _failed(
        self,
        status: OutcomeStatus,
        error: BaseException,
        package: TaskPackage,
        job: Job,
        retry_hint: RetryHint = RetryHint.NONE,
    ) -> RunResult:
        if isinstance(error, UnsuitableFunction) or not is_retryable(error, package.header.options):
            retry_hint = RetryHint.STOP
        self._reporters.report(error, package, job.attempt, retry_hint, status, job.queue)
        failure = describe(error)
        if isinstance(error, TypeError) and (hint := option_hint(failure.message, package.kwargs)):
            failure = failure._replace(message=f"{failure.message}{hint}")
        post_mortem = None if self._observer is None else self._observer.explain(error)
        return RunResult(status, failure=failure, error=error, retry_hint=retry_hint, post_mortem=post_mortem)

    def _outcome(self, job: Job, header: TaskHeader, result: RunResult, started_at: float, sealed: bytes) -> Outcome:
        snoozed = result.retry_hint is RetryHint.SNOOZE
        outcome = Outcome.of(
            job,
            header,
            result.status,
            started_at=started_at,
            stopped_at=self._clock(),
            worker=self._worker,
            arguments=sealed,
            result=result.result,
            failure=result.failure.plain if result.failure else None,
            payload=self._codec_of(job).sign(job.body) if snoozed else None,
            retry_hint=result.retry_hint.value,
            delay=result.delay,
            tracked_end=result.tracked_end.plain if result.tracked_end else None,
            post_mortem=result.post_mortem,
        )
        return outcome._replace(options={**outcome.options, CHECKPOINT: True}) if result.keeps_checkpoint else outcome

    def _rejected(self, job: Job, error: BaseException, started_at: float) -> Outcome:
        """The outcome of a message that is signed by this project, and can never be run here."""
        return rejected_outcome(job, self._codec_of(job).sign(job.body), error, started_at, self._worker)


def called(func: Callable[..., Any], package: TaskPackage, attempt: int, tracked: TrackedRun | None) -> Any:
    """Call the function of a task: what is innermost where middleware is around it."""
    if tracked is not None and tracked.framework is not None:
        return tracked.framework.call(package)
    if isinstance(func, TaskCallable) and func.takes_context:
        return func.call_as(context_of(package.header, attempt), *package.args, **package.kwargs)
    return func(*package.args, **package.kwargs)


def _ended(tracked: TrackedRun | None, result: RunResult) -> RunResult:
    """The result, after it was written into the row of a tracked task, or with what the monitor has to write."""
    if tracked is None:
        return result
    end = tracked.ended(result.status, result.retry_hint, result.error)
    return result if end is None else result._replace(tracked_end=end)


def context_of(header: TaskHeader, attempt: int) -> TaskContext:
    """The context of a run, for a function that takes it."""
    return TaskContext(
        id=header.id,
        name=header.name,
        attempt=attempt,
        queue=header.options.queue,
        enqueued_at=header.enqueued_at,
    )
