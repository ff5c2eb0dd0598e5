"""What is recorded of jobs whose worker died: how it ended, in words."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from django_cluster.cluster.scoreboard import Cause, Row
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Failure, Job, Outcome, OutcomeStatus
from django_cluster.errors import PackageError
from django_cluster.lifecycle.execute import rejected


def describe_death(row: Row | None) -> Failure:
    """Why a worker ended. ``row``: what it and the sentinel last wrote; None when even that is gone."""
    if row is None or row.exit is None:
        return Failure("WorkerLost", "The worker died, and nobody saw how.")
    if row.cause is Cause.TIMEOUT:
        return Failure("TaskTimeout", "The task overran its time limit and did not stop; its worker was killed.")
    if row.exit < 0:
        name = _signal_name(-row.exit)
        hint = " Perhaps it ran out of memory." if row.exit == -signal.SIGKILL else ""
        return Failure("WorkerLost", f"The worker was killed by signal {-row.exit} ({name}).{hint}")
    return Failure("WorkerLost", f"The worker ended with exit code {row.exit} while it ran the task.")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def obituaries(jobs: Sequence[Job], row: Row | None, codec: Codec, worker: str) -> list[Outcome]:
    """The outcomes of jobs that a dead worker had begun.

    The monitor ignores those of which it has the true outcome: the worker may have sent it before it died.
    """
    failure = describe_death(row)
    overdue = row is not None and row.cause is Cause.TIMEOUT
    now, ago = time.time(), time.monotonic()
    outcomes = []
    for job in jobs:
        running = row is not None and row.running == job.number
        started_at = now - (ago - row.started) if running and row is not None and row.started else now
        status = OutcomeStatus.TIMEOUT if running and overdue else OutcomeStatus.LOST
        outcomes.append(_obituary(job, status, failure, codec, worker, started_at, now))
    return outcomes


def _obituary(
    job: Job, status: OutcomeStatus, failure: Failure, codec: Codec, worker: str, started_at: float, now: float
) -> Outcome:
    try:
        header, arguments = codec.label(job.body)
    except PackageError as error:
        return rejected(job.number, job.receipt, job.attempt, codec.sign(job.body), error, now, worker)
    return Outcome(
        number=job.number,
        receipt=job.receipt,
        attempt=job.attempt,
        id=header.id,
        name=header.name,
        func=header.func,
        options=header.options.to_wire(),
        enqueued_at=header.enqueued_at,
        started_at=started_at,
        stopped_at=now,
        status=status.value,
        worker=worker,
        arguments=codec.seal_arguments(job.body, arguments),
        failure=failure.plain,
    )
