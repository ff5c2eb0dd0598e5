"""The table "who dies" of the architecture: SIGKILL for every process, and what follows."""

from __future__ import annotations

import os
import signal

import pytest

from tests.conftest import wait_until
from tests.e2e.brokers import (
    each_once,
    on_both_brokers,
    on_every_broker,
    on_every_broker_always,
    on_every_broker_before_release,
)
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.e2e.running_cluster import RunningCluster
from tests.fields import fields

LOAD = 300
FORGIVING = {"max_attempts": 0, "retry_delay": 0.1, "retry": 2}
"""For tests in which runs may be cut off, and have to be made again."""


def put_under_load(project: Project, number: int = LOAD) -> list[str]:
    """Many short tasks, each of which leaves its number as a trace."""
    path = str(project.trace)
    return project.enqueue_many("tests.sample.tasks.touch_and_sleep", [(path, 0.01, str(n)) for n in range(number)])


def wait_until_under_way(project: Project, number: int = 20) -> None:
    """Some of the load is done, and most of it is not."""
    wait_until(lambda: project.count() >= number, because="the work should be under way")
    assert project.count() < LOAD


def check_that_all_succeeded(project: Project, ids: list[str]) -> None:
    rows = project.wait_for_rows(len(ids))
    assert {row.id for row in rows if row.success} == set(ids)


@each_once("workers", [1, 2])
def test_a_killed_idle_worker_costs_nothing(make_project: MakeProject, broker: str, workers: int) -> None:
    project = make_project(broker, workers=workers)
    cluster = project.start()

    killed = cluster.kill("worker")

    ids = project.enqueue_many("tests.sample.tasks.add", [(n, n) for n in range(20)])
    check_that_all_succeeded(project, ids)
    cluster.wait_for_replacement("worker", killed, workers)


@on_every_broker_before_release
def test_a_task_whose_worker_is_killed_is_recorded_as_lost(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, workers=1, max_attempts=1)
    cluster = project.start()
    lost = project.enqueue("tests.sample.tasks.touch_and_sleep", str(project.trace), 60)
    others = project.enqueue_many("tests.sample.tasks.add", [(1, 1)] * 5)
    project.wait_for_traces(1)

    cluster.kill("worker")

    row = project.wait_for_row(lost, within=10)
    assert fields(row, "status", "success", "final", "attempt_count") == {
        "status": "lost",
        "success": False,
        "final": True,
        "attempt_count": 1,
    }
    assert "signal 9" in row.error_message
    assert all(project.wait_for_row(other).success for other in others)


@on_every_broker
def test_a_task_whose_worker_is_killed_is_tried_again(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, **FORGIVING)
    cluster = project.start(workers=1)
    task_id = project.enqueue("tests.e2e.tasks.hang_the_first_time", str(project.trace))
    project.wait_for_traces(1)

    cluster.kill("worker")

    row = project.wait_for_row(task_id, within=10)
    assert fields(row, "status", "result", "attempt_count") == {"status": "success", "result": 2, "attempt_count": 2}
    assert row.attempts is not None
    assert "signal 9" in str(row.attempts)


def test_a_task_that_kills_its_workers_is_put_aside(make_project: MakeProject) -> None:
    project = make_project(max_attempts=0, retry_delay=0.1)
    project.start()

    task_id = project.enqueue("tests.sample.tasks.touch_and_die", str(project.trace))

    row = project.wait_for_row(task_id)
    assert (row.status, row.attempt_count) == ("dead", 3)
    assert len(project.traces()) == 3
    wait_until(lambda: project.broker().size().total == 0, because="it should have left the queue")


@on_every_broker_always
def test_workers_killed_under_load_lose_no_task(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, **FORGIVING)
    cluster = project.start()
    ids = put_under_load(project)
    wait_until_under_way(project)

    killed = [cluster.kill("worker", 0), cluster.kill("worker", 1)]

    check_that_all_succeeded(project, ids)
    assert not set(killed) & set(cluster.pids("worker"))
    # Only what was running when its worker died was begun a second time.
    assert len(project.traces()) <= LOAD + 2


@on_every_broker
def test_a_killed_pusher_loses_no_task(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, **FORGIVING)
    cluster = project.start()
    workers = cluster.pids("worker")
    ids = put_under_load(project)
    wait_until_under_way(project)

    killed = cluster.kill("pusher")

    check_that_all_succeeded(project, ids)
    assert sorted(project.traces()) == sorted(str(n) for n in range(LOAD))
    cluster.wait_for_replacement("pusher", killed)
    assert cluster.pids("worker") == workers


@on_every_broker_always
def test_the_lease_of_a_running_task_outlives_a_killed_pusher(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, workers=1, retry=1)
    cluster = project.start()
    task_id = project.enqueue("tests.sample.tasks.touch_and_sleep", str(project.trace), 3)
    project.wait_for_traces(1)

    cluster.wait_for_replacement("pusher", cluster.kill("pusher"))

    assert project.wait_for_row(task_id).success
    assert len(project.traces()) == 1
    wait_until(lambda: project.broker().size().total == 0, 5, "the message should have been acknowledged")


@on_both_brokers
@pytest.mark.parametrize("dies", [("pusher",), ("pusher", "monitor")], ids="-".join)
def test_what_stands_around_a_long_task_runs_once_though_the_pusher_dies_under_it(
    make_project: MakeProject, broker: str, dies: tuple[str, ...]
) -> None:
    """Outcomes that its worker still keeps, and tasks that wait behind it: nobody can ask the worker meanwhile."""
    project = make_project(broker, workers=2, retry=4)
    cluster = project.start()
    path = str(project.trace)
    calls = [(path, 0, str(number)) for number in range(400)]
    calls[200] = (path, 9, "long")  # the same function: what was quick before may travel together with what follows

    project.enqueue_many("tests.sample.tasks.touch_and_sleep", calls)
    wait_until(lambda: "long" in project.traces(), 20, "the long task should have begun")
    for role in dies:
        cluster.kill(role)

    project.wait_for_rows(400)
    assert len(project.traces()) == len(set(project.traces())) == 400
    wait_until(lambda: project.broker().size().total == 0, 5, "every message should have been acknowledged")


@on_every_broker
def test_a_killed_monitor_loses_no_outcome(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    cluster = project.start()
    workers = cluster.pids("worker")
    ids = put_under_load(project)
    wait_until_under_way(project)

    first = cluster.kill("monitor")
    (second,) = cluster.wait_for_replacement("monitor", first)
    os.kill(second, signal.SIGKILL)

    check_that_all_succeeded(project, ids)
    assert sorted(project.traces()) == sorted(str(n) for n in range(LOAD))
    assert project.counted() == LOAD
    cluster.wait_for_replacement("monitor", second)
    assert cluster.pids("worker") == workers
    wait_until(lambda: project.broker().size().total == 0, 5, "every message should have been acknowledged")


@on_every_broker_before_release
def test_a_hook_that_kills_its_process_is_not_handed_to_the_next(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    cluster = project.start()
    monitor = cluster.pid_of("monitor")

    deadly = project.enqueue("tests.sample.tasks.add", 1, 1, hook="tests.sample.hooks.die")

    assert project.wait_for_row(deadly).success
    cluster.wait_for_log("notifier (pid")  # how it ended
    second = cluster.pid_of("notifier")
    ids = project.enqueue_many("tests.sample.tasks.add", [(1, 1)] * 20)
    assert all(project.wait_for_row(task_id).success for task_id in ids)
    assert cluster.pids("notifier") == [second]
    assert cluster.pids("monitor") == [monitor]


def test_a_killed_scheduler_loses_no_schedule(make_project: MakeProject) -> None:
    from django_cluster.tasks import schedule

    project = make_project()
    cluster = project.start()

    killed = cluster.kill("scheduler")
    schedule("tests.sample.tasks.touch", str(project.trace), schedule_type="O")

    project.wait_for_rows(1)
    cluster.wait_for_replacement("scheduler", killed)
    assert len(project.traces()) == 1


@on_every_broker_always
def test_nobody_survives_a_killed_sentinel_and_no_task_is_lost(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, **FORGIVING)
    cluster = project.start()
    ids = put_under_load(project)
    wait_until_under_way(project)

    cluster.signal(signal.SIGKILL)

    assert cluster.wait_for_exit() == -signal.SIGKILL
    assert project.count() < LOAD
    project.start()
    check_that_all_succeeded(project, ids)
    # What had not been begun was given back, and what was done was filed: only what ran was begun again.
    assert len(project.traces()) <= LOAD + 2


@pytest.mark.parametrize("func", ["touch_and_hang_deaf", "touch_and_spin"])
def test_a_busy_worker_does_not_survive_a_killed_sentinel(make_project: MakeProject, func: str) -> None:
    project = make_project(workers=1, retry=2)
    cluster = project.start()
    project.enqueue(f"tests.sample.tasks.{func}", str(project.trace), 60)
    project.wait_for_traces(1)

    cluster.signal(signal.SIGKILL)

    cluster.wait_until_nobody_is_left()


def check_that_it_survives(project: Project, cluster: RunningCluster) -> None:
    ids = project.enqueue_many("tests.sample.tasks.add", [(1, 1)] * 20)
    assert all(project.wait_for_row(task_id).success for task_id in ids)
    assert cluster.alive


def test_everybody_but_the_sentinel_may_die_at_once(make_project: MakeProject) -> None:
    project = make_project(**FORGIVING)
    cluster = project.start()
    ids = put_under_load(project)
    wait_until_under_way(project)

    for process in cluster.members():
        if process.pid != cluster.pid:
            process.kill()

    check_that_all_succeeded(project, ids)
    check_that_it_survives(project, cluster)
