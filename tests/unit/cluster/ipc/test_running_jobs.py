"""The table of the concurrent jobs of one worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from django_cluster.cluster.ipc.process_row import ScoreboardRow
from django_cluster.cluster.ipc.running_jobs import (
    JobState,
    RunningJob,
    RunningJobs,
    RunningJobsReader,
    running_jobs_file,
)
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import JOB_SLOTS
from django_cluster.core.task_progress import TaskProgress

INCARNATION = 7


@pytest.fixture
def table(tmp_path: Path) -> Iterator[RunningJobs]:
    table = RunningJobs.create(running_jobs_file(tmp_path, INCARNATION), 3)
    yield table
    table.close()


@pytest.fixture
def row(board: Scoreboard) -> ScoreboardRow:
    board.reset_row(1, INCARNATION)
    board.set(1, JOB_SLOTS, 3)
    return board.read(1)


def test_a_job_is_seen_from_its_begin_until_it_is_recorded(
    tmp_path: Path, table: RunningJobs, row: ScoreboardRow
) -> None:
    reader = RunningJobsReader(tmp_path)
    table.add(2, 1 << 40, 10.5, 20.5, "receipt", "id", "a\nname", "module.func")
    table.add(0, 5, 1.0, 0.0, "", "", "", "")
    begun = reader.read(row)
    table.finish(2)
    ended = reader.read(row)
    table.free(2)

    info = ("id", "a name", "module.func")
    assert begun[1] == RunningJob(1 << 40, JobState.RUNNING, 10.5, 20.5, info, "receipt")
    assert [job.number for job in begun] == [5, 1 << 40]
    assert [job.runs for job in ended] == [True, False]
    assert [job.number for job in reader.read(row)] == [5]


def test_a_job_says_how_far_it_is_and_its_slot_forgets_it(
    tmp_path: Path, table: RunningJobs, row: ScoreboardRow
) -> None:
    reader = RunningJobsReader(tmp_path)
    table.add(1, 8, 1.0, 0.0, "r" * 2000, "id" * 900, "n", "f")
    table.write_progress(1, 3.0, 0.0, "é" * 300)
    (said,) = reader.read(row)
    table.free(1)
    table.add(1, 9, 1.0, 0.0, "s", "id", "n", "f")

    assert said.progress == TaskProgress(done=3.0, message="é" * 200)
    assert set(said.receipt) == {"r"}
    assert reader.read(row) == [RunningJob(9, JobState.RUNNING, 1.0, 0.0, ("id", "n", "f"), "s")]


def test_a_cancelled_job_should_have_ended_then(tmp_path: Path, table: RunningJobs, row: ScoreboardRow) -> None:
    table.add(0, 8, 1.0, 100.0, "r", "id", "n", "f")
    table.cancel(0, 50.0)

    (job,) = RunningJobsReader(tmp_path).read(row)

    assert (job.state, job.deadline, job.runs) == (JobState.CANCELLED, 50.0, True)


def test_without_a_table_nothing_runs(tmp_path: Path, board: Scoreboard, row: ScoreboardRow) -> None:
    reader = RunningJobsReader(tmp_path)

    assert reader.read(None) == reader.read(board.read(0)) == []
    assert reader.read(row) == []


def test_the_table_of_a_dead_worker_is_removed(tmp_path: Path, table: RunningJobs, row: ScoreboardRow) -> None:
    reader = RunningJobsReader(tmp_path)
    table.add(0, 8, 1.0, 0.0, "r", "id", "n", "f")
    assert len(reader.read(row)) == 1

    reader.forget(INCARNATION, remove=True)

    assert reader.read(row) == []
    assert list(tmp_path.glob("jobs-*")) == []
