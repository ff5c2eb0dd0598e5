"""The tasks of a run, and how long they take."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from django_cluster.testing.chaos.journal import read_all
from django_cluster.testing.chaos.observations import executions_from
from django_cluster.testing.chaos.workload import durations, work


def test_a_task_bears_witness_of_its_run(tmp_path: Path) -> None:
    work(str(tmp_path / "runs"), "task", 0.01)

    (run,) = executions_from(read_all(tmp_path / "runs"))
    assert (run.task, run.pid) == ("task", os.getpid())
    assert run.ended is not None
    assert run.ended - run.began >= 0.01


def test_the_same_seed_makes_the_same_load() -> None:
    assert list(islice(durations(7, 50, 6.0), 1000)) == list(islice(durations(7, 50, 6.0), 1000))


def test_most_tasks_are_quick_and_a_few_outlast_a_lease() -> None:
    lengths = list(islice(durations(7, 50, 6.0), 1000))

    assert sum(length > 6.0 for length in lengths) == 2
    assert sum(0.01 < length < 0.25 for length in lengths) > 50
    assert sum(length < 0.01 for length in lengths) > 850


def test_even_a_thin_load_has_a_task_that_outlasts_a_lease() -> None:
    assert max(islice(durations(7, 0.1, 6.0), 10)) > 6.0


def test_a_long_task_is_long_only_once(tmp_path: Path) -> None:
    for _ in range(2):
        work(str(tmp_path / "runs"), "task", 0.3)

    first, second = executions_from(read_all(tmp_path / "runs"))
    assert first.ended is not None
    assert second.ended is not None
    assert first.ended - first.began >= 0.3
    assert second.ended - second.began < 0.3
