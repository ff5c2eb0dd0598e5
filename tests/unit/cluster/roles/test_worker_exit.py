"""What is said of the dead: how they ended, and which of their jobs ran then."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from django_cluster.cluster.ipc.process_row import Cause, ProcessCommand, ProcessState, ScoreboardRow
from django_cluster.cluster.ipc.running_jobs import JobState, RunningJob, stack_file
from django_cluster.cluster.roles.worker_exit import (
    WorkerExit,
    crash_file,
    lost_outcomes,
    overdue_jobs,
    read_worker_exit,
)
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, OutcomeStatus, TaskHeader, TaskOptions, TaskPackage
from tests.conftest import make_settings
from tests.fields import fields
from tests.sealed import arguments_of

SIGNING = make_settings().signing
CODEC = Codec(SIGNING)


def row(**changes: Any) -> ScoreboardRow:
    dead = ScoreboardRow(
        incarnation=3,
        pid=4711,
        state=ProcessState.BUSY,
        running=0,
        begun=0,
        done=0,
        rss=0,
        started=0.0,
        deadline=0.0,
        command=ProcessCommand.RUN,
        cause=Cause.NONE,
        exit_code=-9,
        peak_rss=0,
        revoked=0,
        role_code=0,
        restart_request=0,
    )
    return replace(dead, **changes)


def job(number: int, *args: Any, options: TaskOptions = TaskOptions(group="letters")) -> Job:  # noqa: B008  frozen
    header = TaskHeader(id=f"{number:032x}", name=f"task {number}", func="a.b", enqueued_at=5.0, options=options)
    body = CODEC.verify(CODEC.dumps(TaskPackage(header=header, args=args)))
    return Job(number, body, f"receipt {number}", 2)


@pytest.mark.parametrize(
    ("dead", "kind", "words"),
    [
        (None, "WorkerLost", "for an unknown reason"),
        (row(exit_code=None), "WorkerLost", "for an unknown reason"),
        (row(exit_code=-9), "WorkerLost", "signal 9 (SIGKILL). Perhaps it ran out of memory."),
        (row(exit_code=-11), "WorkerLost", "signal 11 (SIGSEGV)."),
        (row(exit_code=-64), "WorkerLost", "signal 64"),
        (row(exit_code=-99), "WorkerLost", "signal 99 (unknown)"),
        (row(exit_code=3), "WorkerLost", "exit code 3"),
        (row(exit_code=0), "WorkerLost", "exit code 0"),
        (row(exit_code=-9, cause=Cause.TIMEOUT), "django_cluster.errors.TaskTimeout", "time limit"),
        (row(exit_code=-9, cause=Cause.MEMORY), "OutOfMemory", "max_rss_kill"),
        (row(exit_code=-9, cause=Cause.OUT_OF_MEMORY), "OutOfMemory", "The machine ran out of memory"),
        (row(exit_code=-9, peak_rss=1234), "WorkerLost", "up to 1234 kB"),
        (row(exit_code=-9, peak_rss=0, rss=77), "WorkerLost", "up to 77 kB"),
    ],
    ids=str,
)
def test_a_death_is_told_in_words(dead: ScoreboardRow | None, kind: str, words: str) -> None:
    failure = WorkerExit(dead).failure

    assert failure.kind == kind
    assert words in failure.message


def test_a_death_by_the_hard_limit_is_not_blamed_on_memory() -> None:
    assert "memory" not in WorkerExit(row(cause=Cause.TIMEOUT)).failure.message


def test_the_stack_that_a_crash_left_behind_is_kept_and_its_file_cleared_away(tmp_path: Path) -> None:
    Path(crash_file(tmp_path, 3)).write_text("Fatal Python error: Segmentation fault")

    first, second = read_worker_exit(row(exit_code=-11), tmp_path, 3), read_worker_exit(row(exit_code=-11), tmp_path, 3)

    assert first.failure.traceback == "Fatal Python error: Segmentation fault"
    assert second.failure.traceback == ""
    assert list(tmp_path.iterdir()) == []


def test_a_death_says_for_how_long_the_task_had_run(tmp_path: Path) -> None:
    death = read_worker_exit(row(started=time.monotonic() - 100), tmp_path, 3)

    assert 100 <= death.ran_for < 105
    assert "had run for 10" in death.failure.message


def test_the_job_that_ran_over_is_a_timeout_and_those_it_had_finished_before_are_lost() -> None:
    dead = row(running=2, begun=2, cause=Cause.TIMEOUT)

    first, second = lost_outcomes([job(1), job(2)], WorkerExit(dead), CODEC, "worker 1")

    assert (first.status, second.status) == (OutcomeStatus.LOST, OutcomeStatus.TIMEOUT)


def test_the_job_that_was_cancelled_is_not_run_again_and_those_it_had_finished_before_are_lost() -> None:
    dead = row(running=2, begun=2, cause=Cause.CANCELLED)

    first, second = lost_outcomes([job(1), job(2)], WorkerExit(dead), CODEC, "worker 1")

    assert (first.status, first.retry_hint) == (OutcomeStatus.LOST, "")
    assert (second.status, second.retry_hint) == (OutcomeStatus.CANCELLED, "stop")
    assert (second.failure or ("", ""))[0] == "django_cluster.errors.TaskCancelled"


@pytest.mark.parametrize(
    ("options", "retry_hint"),
    [
        (TaskOptions(), ""),
        (TaskOptions(retry_on=("ConnectionError",)), "stop"),
        (TaskOptions(retry_on=("django_cluster.errors.TaskTimeout",)), ""),
        (TaskOptions(no_retry_on=("django_cluster.errors.TaskTimeout",)), "stop"),
    ],
    ids=str,
)
def test_retry_on_holds_for_the_hard_limit_as_for_the_soft_one(options: TaskOptions, retry_hint: str) -> None:
    dead = row(running=1, begun=1, cause=Cause.TIMEOUT)

    (outcome,) = lost_outcomes([job(1, options=options)], WorkerExit(dead), CODEC, "worker 1")

    assert outcome.retry_hint == retry_hint


def test_what_a_worker_died_of_is_tried_again_whatever_retry_on_says() -> None:
    (outcome,) = lost_outcomes(
        [job(1, options=TaskOptions(retry_on=("OSError",)))], WorkerExit(row(running=1)), CODEC, "w"
    )

    assert outcome.retry_hint == ""


def test_without_a_row_everything_is_lost() -> None:
    (outcome,) = lost_outcomes([job(1)], WorkerExit(None), CODEC, "worker")

    assert outcome.status == OutcomeStatus.LOST


def test_an_obituary_says_whose_it_is_and_keeps_the_arguments() -> None:
    (outcome,) = lost_outcomes([job(1, "x", 2)], WorkerExit(row(running=1)), CODEC, "worker 4711")

    assert fields(outcome, "number", "receipt", "attempt") == {"number": 1, "receipt": "receipt 1", "attempt": 2}
    assert fields(outcome, "id", "name", "func") == {"id": f"{1:032x}", "name": "task 1", "func": "a.b"}
    assert outcome.options == {"group": "letters"}
    assert (outcome.enqueued_at, outcome.worker) == (5.0, "worker 4711")
    assert arguments_of(outcome, SIGNING.secret) == (("x", 2), {})
    assert outcome.failure is not None
    assert type(outcome.failure) is tuple


def test_a_run_began_when_its_worker_said_so() -> None:
    death = WorkerExit(row(running=2), ran_for=100.0)

    (outcome,) = lost_outcomes([job(2)], death, CODEC, "worker 1")

    assert 100 <= outcome.stopped_at - outcome.started_at < 105


def test_of_a_package_of_another_version_there_is_an_obituary_too() -> None:
    (outcome,) = lost_outcomes([Job(1, b'p{"v": 99}\n', "r", 1)], WorkerExit(row(running=1)), CODEC, "worker 1")

    assert outcome.status == OutcomeStatus.REJECTED
    assert outcome.payload is not None
    assert CODEC.verify(outcome.payload) == b'p{"v": 99}\n'


# ── several jobs at a time ───────────────────────────────────────────────────────────────────────


def running(number: int, deadline: float = 0.0, state: JobState = JobState.RUNNING) -> RunningJob:
    return RunningJob(number, state, 1.0, deadline, ("id", "name", "func"), "receipt")


@pytest.mark.parametrize(
    ("dead", "jobs", "guilty"),
    [
        (row(running=1, cause=Cause.TIMEOUT), [], {1}),
        (row(cause=Cause.TIMEOUT), [running(2, 10.0), running(3, 9.0), running(4)], {3}),
        (row(cause=Cause.TIMEOUT), [running(2, 101.0), running(3, 102.0)], set()),
        (row(running=1, deadline=8.0, cause=Cause.TIMEOUT), [running(2, 10.0)], {1}),
        (row(running=1, deadline=11.0, cause=Cause.TIMEOUT), [running(2, 10.0)], {2}),
        (row(blocker=4, cause=Cause.TIMEOUT), [running(3, 9.0), running(4)], {4}),
        (row(blocker=5, cause=Cause.TIMEOUT), [running(3, 9.0), running(4)], {3}),
        (row(step_job=4, step_since=8.0, cause=Cause.TIMEOUT), [running(3, 9.0), running(4)], {4}),
        (row(step_job=4, step_since=99.0, cause=Cause.TIMEOUT), [running(3, 9.0), running(4)], {3}),
        (row(running=1, deadline=8.0, blocker=4, cause=Cause.TIMEOUT), [running(3, 9.0), running(4)], {1}),
        (row(running=1, deadline=8.0), [running(3, 9.0)], set()),
    ],
)
def test_who_is_to_blame_for_a_kill(dead: ScoreboardRow, jobs: list[RunningJob], guilty: set[int]) -> None:
    assert overdue_jobs(dead, jobs, now=100.0) == guilty


@pytest.mark.parametrize(
    ("cause", "overdue", "unblamed"),
    [
        (Cause.SHUTDOWN, set(), {1, 2, 3}),
        (Cause.TIMEOUT, {2}, {1, 3}),
        (Cause.CANCELLED, set(), {2, 3}),
        (Cause.MEMORY, set(), set()),
        (Cause.NONE, set(), set()),
    ],
)
def test_the_jobs_that_a_kill_was_not_meant_for(cause: Cause, overdue: set[int], unblamed: set[int]) -> None:
    concurrent = {number: running(number) for number in (2, 3)}
    worker_exit = WorkerExit(row(running=1, cause=cause), concurrent=concurrent, overdue=frozenset(overdue))

    assert worker_exit.unblamed == unblamed


def test_without_a_row_or_a_running_job_nothing_is_unblamed() -> None:
    assert WorkerExit(None).unblamed == frozenset()
    assert WorkerExit(row(cause=Cause.SHUTDOWN)).unblamed == frozenset()


@pytest.mark.parametrize(
    ("state", "status"), [(JobState.RUNNING, OutcomeStatus.TIMEOUT), (JobState.CANCELLED, OutcomeStatus.CANCELLED)]
)
def test_a_concurrent_job_that_was_killed_is_reported_with_its_stack(
    tmp_path: Path, state: JobState, status: OutcomeStatus
) -> None:
    stack_file(tmp_path, 3, 2).write_text("where it was")
    jobs = [running(2, 9.0, state), running(1, 0.0, JobState.FINISHED)]

    death = read_worker_exit(row(cause=Cause.TIMEOUT), tmp_path, 3, None, jobs)
    guilty, other = lost_outcomes([job(2), job(4)], death, CODEC, "worker 1")

    assert (guilty.status, other.status) == (status, OutcomeStatus.LOST)
    assert guilty.failure is not None
    assert guilty.failure[2] == "where it was"
    assert set(death.concurrent) == {2}
    assert list(tmp_path.glob("stack-*")) == []
