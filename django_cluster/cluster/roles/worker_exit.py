"""How a worker exited, and the outcomes of the jobs that it had begun."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django_cluster.cluster.ipc.log_ring import ring_file, take_lines
from django_cluster.cluster.ipc.process_row import Cause, ScoreboardRow
from django_cluster.cluster.ipc.running_jobs import JobState, RunningJob, take_stack
from django_cluster.core.codec import Codec
from django_cluster.core.messages import (
    KILLED_FOR_TIMEOUT,
    FailureDetails,
    Job,
    Outcome,
    OutcomeStatus,
    RetryHint,
    path_of_class,
)
from django_cluster.core.post_mortem import HostFacts, PostMortem
from django_cluster.core.redaction import redactor
from django_cluster.errors import PackageError, TaskCancelled, TaskTimeout
from django_cluster.lifecycle.rejection import rejected_outcome
from django_cluster.lifecycle.run_observation import MAX_LINES
from django_cluster.lifecycle.run_results import is_retryable

ERROR_KINDS = {
    Cause.TIMEOUT: path_of_class(TaskTimeout),
    Cause.CANCELLED: path_of_class(TaskCancelled),
    Cause.MEMORY: "OutOfMemory",
    Cause.OUT_OF_MEMORY: "OutOfMemory",
}

KILLED_FOR_CANCEL = "The task was cancelled and did not end in time; its worker was killed."


STACK_SIGNAL = signal.SIGRTMAX - 1 if hasattr(signal, "SIGRTMAX") else None
"""The signal at which a worker writes its stack into its crash file, before it is killed; None: there is none here.
A real-time signal, because the others mean something to tasks."""


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker exited, as far as it is known."""

    row: ScoreboardRow | None
    """What the worker and the sentinel wrote last; None when its row has been reused."""
    stack: str = ""
    """The Python stack that ``faulthandler`` left behind."""
    ran_for: float = 0.0
    """Seconds since the last task had started."""
    lines: Sequence[tuple[str, str]] = ()
    """Task id and text of the last log lines of the worker."""
    environment: HostFacts | None = field(default=None, repr=False)
    """Where it ran; None: losses are not explained."""
    concurrent: Mapping[int, RunningJob] = field(default_factory=dict)
    """The jobs that ran concurrently, by number."""
    overdue: frozenset[int] = frozenset()
    """The numbers of the running jobs because of which the worker was killed."""
    stacks: Mapping[int, str] = field(default_factory=dict)
    """The Python stacks of these, as far as the worker has noted them."""

    def ran_for_of(self, number: int) -> float:
        """Seconds since this running job had started."""
        job = self.concurrent.get(number)
        return self.ran_for if job is None else time.monotonic() - job.started

    def was_overdue(self, number: int) -> bool:
        """Whether the worker was killed because of the time limit of this job."""
        if self.concurrent or self.row is None:
            return number in self.overdue
        return self.row.cause is Cause.TIMEOUT and self.row.running == number

    @property
    def unblamed(self) -> frozenset[int]:
        """The numbers of the jobs that ran, and that its kill was not meant for: they run again without an attempt.

        Empty where it was killed by others, or for its memory: nothing tells which of them was the cause.
        """
        row = self.row
        if row is None or row.cause not in (Cause.SHUTDOWN, Cause.TIMEOUT, Cause.CANCELLED):
            return frozenset()
        meant = {row.running} if row.cause is Cause.CANCELLED else self.overdue
        return frozenset({row.running, *self.concurrent} - meant - {0})

    @property
    def failure(self) -> FailureDetails:
        """Why the job was lost that ran alone."""
        return self.failure_of(0)

    def failure_of(self, number: int) -> FailureDetails:
        """Why this job was lost."""
        stack = self.stacks.get(number, self.stack)
        if self.row is None or self.row.exit_code is None:
            return FailureDetails("WorkerLost", "The worker died for an unknown reason.", stack)
        ran_for = self.ran_for_of(number)
        sentence = f"{_cause(self.row, self.row.exit_code)} The task had run for {ran_for:.1f} seconds"
        most = max(self.row.peak_rss, self.row.rss)  # a crash may come before the sentinel has measured it once
        memory = f", and the worker had held up to {most} kB of memory." if most else "."
        return FailureDetails(ERROR_KINDS.get(self.row.cause, "WorkerLost"), sentence + memory, stack)


def loss_post_mortem(worker_exit: WorkerExit, task_id: str, *, running: bool, number: int = 0) -> bytes | None:
    """The packed post-mortem of a task that a dead worker had begun. ``running``: it ran. ``number``: of its job."""
    row, environment = worker_exit.row, worker_exit.environment
    if environment is None:
        return None
    mask = redactor().text
    return PostMortem(
        verdict=worker_exit.failure_of(number).message,
        exit_code=None if row is None else row.exit_code,
        log_lines=tuple(mask(line) for each, line in worker_exit.lines if each == task_id)[-MAX_LINES:],
        wall_seconds=round(worker_exit.ran_for_of(number), 6) if running else None,
        peak_memory_kb=(max(row.peak_rss, row.rss) or None) if row is not None and running else None,
        host=environment.host,
        versions=environment.versions,
        revision=environment.revision,
    ).packed()


def _cause(row: ScoreboardRow, code: int) -> str:
    if row.cause is Cause.TIMEOUT:
        return KILLED_FOR_TIMEOUT
    if row.cause is Cause.CANCELLED:
        return KILLED_FOR_CANCEL
    if row.cause is Cause.MEMORY:
        return "The task held more memory than max_rss_kill allows; its worker was killed."
    if row.cause is Cause.UNRESPONSIVE:
        return "The worker gave no sign of life for too long, outside a task, and was killed."
    if row.cause is Cause.OUT_OF_MEMORY:
        return "The machine ran out of memory, and the kernel killed the worker (signal 9, SIGKILL)."
    if code < 0:
        hint = " Perhaps it ran out of memory." if code == -signal.SIGKILL else ""
        return f"The worker was killed by signal {-code} ({_signal_name(-code)}).{hint}"
    return f"The worker ended with exit code {code} while it ran the task."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def crash_file(runtime_dir: Path, incarnation: int) -> str:
    """Where ``faulthandler`` writes the stack of a worker that crashes in C code."""
    return os.path.join(runtime_dir, f"crash-{incarnation}")


def overdue_jobs(row: ScoreboardRow, running: Sequence[RunningJob], now: float) -> frozenset[int]:
    """The numbers of the running jobs because of which a worker was killed that had exceeded a time limit.

    One that blocked the event loop is to blame for the limits of all others. ``running``: what ran concurrently.
    ``now``: ``time.monotonic()`` before which it was killed.
    """
    if row.cause is not Cause.TIMEOUT:
        return frozenset()
    if not running:
        return frozenset((row.running,)) if row.running else frozenset()
    deadlines = {job.number: job.deadline for job in running if 0 < job.deadline <= now}
    if row.running and 0 < row.deadline <= now:
        deadlines[row.running] = row.deadline
    earliest = min(deadlines, key=deadlines.__getitem__, default=0)
    numbers = {job.number for job in running}
    if earliest in numbers:
        # A step that has lasted since before the limit has kept the loop from announcing it.
        stuck = row.step_job if row.step_job and row.step_since <= deadlines[earliest] else row.blocker
        if stuck in numbers:
            return frozenset((stuck,))
    return frozenset((earliest,)) if earliest else frozenset()


def read_worker_exit(
    row: ScoreboardRow | None,
    runtime_dir: Path,
    incarnation: int,
    environment: HostFacts | None = None,
    jobs: Sequence[RunningJob] = (),
) -> WorkerExit:
    """Collect what is known about an exit, and delete the files of the worker. ``jobs``: what ran concurrently."""
    stack, file = "", Path(crash_file(runtime_dir, incarnation))
    with suppress(OSError):
        stack = file.read_text(errors="replace")
        file.unlink()
    now = time.monotonic()
    ran_for = now - row.started if row is not None and row.started else 0.0
    running = [job for job in jobs if job.runs]
    overdue = frozenset[int]() if row is None else overdue_jobs(row, running, now)
    stacks = {number: text for number in overdue if (text := take_stack(runtime_dir, incarnation, number))}
    lines = take_lines(ring_file(runtime_dir, incarnation))
    concurrent = {job.number: job for job in running}
    return WorkerExit(row, stack, ran_for, lines, environment, concurrent, overdue, stacks)


def lost_outcomes(jobs: Sequence[Job], worker_exit: WorkerExit, codec: Codec, worker: str) -> list[Outcome]:
    """The outcomes of jobs that a dead worker had begun.

    The monitor ignores those of jobs whose outcome the worker itself has sent before it died.
    """
    return [_lost_outcome(job, worker_exit, codec, worker) for job in jobs]


def _lost_outcome(job: Job, worker_exit: WorkerExit, codec: Codec, worker: str) -> Outcome:
    now, row, codec = time.time(), worker_exit.row, codec.for_queue(job.queue or codec.queue)
    try:
        header, arguments = codec.split(job.body)
    except PackageError as error:
        return rejected_outcome(job, codec.sign(job.body), error, now, worker)
    alone = row is not None and row.running == job.number
    running = alone or job.number in worker_exit.concurrent
    overdue = worker_exit.was_overdue(job.number)
    cancelled = alone and row is not None and row.cause is Cause.CANCELLED
    if overdue and (concurrent := worker_exit.concurrent.get(job.number)) is not None:
        cancelled = concurrent.state is JobState.CANCELLED
    again = not cancelled and (not overdue or is_retryable(TaskTimeout(), header.options))
    status = OutcomeStatus.CANCELLED if cancelled else OutcomeStatus.TIMEOUT if overdue else OutcomeStatus.LOST
    return Outcome.of(
        job,
        header,
        status,
        started_at=now - worker_exit.ran_for_of(job.number) if running else now,
        stopped_at=now,
        worker=worker,
        arguments=codec.seal_arguments(job.body, header, arguments),
        failure=worker_exit.failure_of(job.number).plain,
        payload=codec.sign(job.body),
        post_mortem=loss_post_mortem(worker_exit, header.id, running=running, number=job.number),
        retry_hint=(RetryHint.NONE if again else RetryHint.STOP).value,
    )
