"""Workers that are replaced because they have worked enough, or hold too much; and what holds for every one."""

from __future__ import annotations

import os
import signal
from collections import Counter

import psutil
import pytest

from tests.conftest import wait_until
from tests.e2e.brokers import on_every_broker, on_every_broker_before_release
from tests.e2e.conftest import MakeProject

CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@on_every_broker_before_release
def test_a_worker_is_replaced_after_enough_tasks(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, recycle=5)
    project.start()

    project.enqueue_many("tests.sample.tasks.process_id", [()] * 60)

    lives = Counter(row.result for row in project.wait_for_rows(60))
    assert max(lives.values()) <= 5
    assert len(lives) >= 12


def test_a_replacement_does_not_wait_for_the_next_look_of_the_guard(make_project: MakeProject) -> None:
    project = make_project(workers=1, recycle=1, guard_cycle=20)
    cluster = project.start()

    project.enqueue_many("tests.sample.tasks.process_id", [()] * 10)

    assert len({row.result for row in project.wait_for_rows(10, within=15)}) == 10
    cluster.kill("worker")
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1), within=10).success


def test_workers_do_not_live_equally_long(make_project: MakeProject) -> None:
    project = make_project(workers=1, recycle=50)
    project.start()

    project.enqueue_many("tests.sample.tasks.process_id", [()] * 600)

    pids = [row.result for row in sorted(project.wait_for_rows(600), key=lambda row: row.started_at)]
    lives = Counter(pids)
    del lives[pids[-1]]  # it is still alive
    assert set(lives.values()) <= set(range(45, 51))
    assert len(set(lives.values())) > 1


def test_a_worker_that_holds_too_much_memory_is_replaced(make_project: MakeProject) -> None:
    project = make_project(workers=1, max_rss=200_000)
    cluster = project.start()
    worker = cluster.pid_of("worker")

    project.enqueue_many("tests.sample.tasks.grow", [150] * 4)

    assert all(row.success for row in project.wait_for_rows(4))
    cluster.wait_for_replacement("worker", worker)
    assert "max_rss" in cluster.logs


def test_memory_that_was_given_back_does_not_condemn_a_worker(make_project: MakeProject) -> None:
    project = make_project(workers=1, max_rss=200_000)
    cluster = project.start()
    worker = cluster.pid_of("worker")

    project.wait_for_row(project.enqueue("tests.e2e.tasks.hold_for_a_moment", 250))
    project.wait_for_row(project.enqueue("tests.sample.tasks.sleep", 0.1))

    assert project.wait_for_row(project.enqueue("tests.sample.tasks.process_id")).result == worker


@on_every_broker
def test_a_stop_with_recycling_near_loses_nothing(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, recycle=1)
    cluster = project.start()
    path = str(project.trace)
    project.enqueue_many("tests.sample.tasks.touch_and_sleep", [(path, 0.2, str(n)) for n in range(12)])
    project.wait_for_traces(3)

    assert cluster.stop() == 0

    done = project.count(success=True)
    assert done == len(project.traces())
    assert project.broker().size().ready == 12 - done > 0
    project.start()
    assert all(row.success for row in project.wait_for_rows(12))
    assert sorted(project.traces()) == sorted(str(n) for n in range(12))


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two processors, and the means to choose one")
def test_each_worker_keeps_to_its_processors_also_when_it_is_replaced(make_project: MakeProject) -> None:
    project = make_project(workers=3, cpu_affinity=1)
    cluster = project.start()
    wanted = [{CPUS[slot % len(CPUS)]} for slot in range(3)]

    before = [os.sched_getaffinity(pid) for pid in cluster.pids("worker")]
    killed = cluster.kill("worker", 1)
    workers = cluster.wait_for_replacement("worker", killed, 3)

    assert before == wanted
    assert [os.sched_getaffinity(pid) for pid in workers] == wanted
    assert os.sched_getaffinity(cluster.pid_of("monitor")) == set(CPUS)


def test_tasks_may_start_processes_if_workers_are_not_daemons(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start(daemonize_workers=False)

    row = project.wait_for_row(project.enqueue("tests.e2e.tasks.run_child"))

    assert (row.success, row.result) == (True, 0)


def test_daemons_may_not_start_processes(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start()

    row = project.wait_for_row(project.enqueue("tests.e2e.tasks.run_child"))

    assert row.status == "failure"
    assert "daemonic processes are not allowed" in row.error_message


def test_what_a_task_has_started_ends_with_its_worker(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    cluster = project.start(daemonize_workers=False)
    program = project.wait_for_row(project.enqueue("tests.e2e.tasks.leave_program_behind")).result
    assert psutil.pid_exists(program)

    os.kill(cluster.pid_of("worker"), signal.SIGKILL)

    wait_until(lambda: program not in [each.pid for each in cluster.members()], because="its worker has ended")


@on_every_broker
def test_hup_replaces_all_workers_and_interrupts_no_task(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    cluster = project.start()
    before = set(cluster.pids("worker"))
    path = str(project.trace)
    project.enqueue_many("tests.sample.tasks.touch_and_sleep", [(path, 0.02, str(n)) for n in range(100)])
    project.wait_for_traces(10)

    cluster.signal(signal.SIGHUP)

    assert all(row.success for row in project.wait_for_rows(100))
    assert sorted(project.traces()) == sorted(str(n) for n in range(100))
    wait_until(lambda: len(cluster.pids("worker")) == 2, because="both slots should be filled again")
    assert not before & set(cluster.pids("worker"))


def test_ttin_and_ttou_change_the_number_of_workers(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()

    cluster.signal(signal.SIGTTIN)
    wait_until(lambda: len(cluster.pids("worker")) == 3, because="there should be one more")
    cluster.signal(signal.SIGTTOU)
    wait_until(lambda: len(cluster.pids("worker")) == 2, because="there should be one less")

    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).success
    assert cluster.stop() == 0
