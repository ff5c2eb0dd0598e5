"""A child that hangs outside a task gives no sign of life: it is replaced, and the log says so."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject

SAMPLE = "tests.sample.tasks"
WORSE = "tests.e2e.tasks"

LIMIT = 4.0
"""Seconds of silence that are permitted; long enough for a busy machine."""


@pytest.mark.parametrize("role", ["monitor", "pusher", "worker", "scheduler"])
def test_a_child_that_hangs_is_replaced_and_the_log_says_why(make_project: MakeProject, role: str) -> None:
    project = make_project(workers=1, unresponsive_timeout=LIMIT, retry=2)
    cluster = project.start()
    hung = cluster.pid_of(role)

    os.kill(hung, signal.SIGSTOP)
    ids = project.enqueue_many(f"{SAMPLE}.add", [(n, n) for n in range(20)])

    cluster.wait_for_replacement(role, hung)
    name = "worker 1" if role == "worker" else role
    cluster.wait_for_log(f"{name} (pid {hung}) killed: unresponsive")
    assert {row.id for row in project.wait_for_rows(20) if row.success} == set(ids)


@pytest.mark.parametrize("role", ["monitor", "pusher", "worker", "scheduler"])
def test_a_stop_with_a_child_that_hangs_has_an_end(make_project: MakeProject, role: str) -> None:
    """Without a limit of its own, it would wait for the whole of ``shutdown_timeout``."""
    project = make_project(workers=1, shutdown_timeout=600, unresponsive_timeout=LIMIT)
    cluster = project.start()
    os.kill(cluster.pid_of(role), signal.SIGSTOP)

    code = cluster.stop()

    assert code == 0


def test_a_task_may_run_for_longer_than_any_silence(make_project: MakeProject) -> None:
    project = make_project(workers=1, unresponsive_timeout=LIMIT)
    project.start()

    row = project.wait_for_row(project.enqueue(f"{SAMPLE}.touch_and_sleep", str(project.trace), LIMIT * 2))

    assert (row.success, len(project.traces())) == (True, 1)


def test_after_a_pause_of_the_whole_cluster_nobody_is_taken_to_hang(make_project: MakeProject) -> None:
    """As when the machine was suspended. Everybody is given a fresh period, the sentinel being the first to wake."""
    project = make_project(workers=2, unresponsive_timeout=LIMIT)
    cluster = project.start()
    before = sorted(process.pid for process in cluster.members())

    cluster.signal_group(signal.SIGSTOP)
    time.sleep(LIMIT + 2)
    cluster.signal(signal.SIGCONT)
    wait_until(lambda: "S" in _state(cluster.pid), because="the sentinel should have looked around and sleep again")
    cluster.signal_group(signal.SIGCONT)

    row = project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1))
    assert row.result == 2
    assert sorted(process.pid for process in cluster.members()) == before
    assert "unresponsive" not in cluster.logs


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("kind", ["null", "socket", "blocking socket"])
def test_a_task_that_replaces_the_descriptors_of_its_worker_costs_only_the_worker(
    make_project: MakeProject, kind: str
) -> None:
    project = make_project(workers=1, unresponsive_timeout=LIMIT, retry=2, max_attempts=0, retry_delay=0.1)
    cluster = project.start()
    wrecked = cluster.pid_of("worker")

    task_id = project.enqueue(f"{WORSE}.replace_descriptors", kind)
    ids = project.enqueue_many(f"{SAMPLE}.add", [(n, n) for n in range(20)])

    cluster.wait_for_replacement("worker", wrecked)
    assert {row.id for row in project.wait_for_rows(21) if row.success} == {task_id, *ids}
    assert "a task has replaced its file descriptors" in cluster.logs
