"""How a cluster ends: at leisure, at once, alone or with its whole group, and always."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
from django.db import connection

from django_cluster.cluster.supervisor.sentinel import ExitCode
from django_cluster.testing.contracts import lease_all
from tests.conftest import wait_until
from tests.e2e.brokers import each_once, on_every_broker, on_every_broker_always, on_every_broker_before_release
from tests.e2e.conftest import MakeProject
from tests.e2e.project import QCLUSTER, Project
from tests.e2e.running_cluster import PATIENCE, RunningCluster
from tests.e2e.terminal import Terminal
from tests.fields import fields

STOPPING = "stopping: waiting for running tasks"


def start_busy(project: Project, waiting: int = 10) -> RunningCluster:
    """A cluster with two running tasks, which end when ``let_them_finish`` says so, and more that wait."""
    cluster = project.start()
    end = str(project.folder / "end")
    project.enqueue_many("tests.e2e.tasks.say_and_wait_for", [(str(project.trace), end)] * 2)
    project.wait_for_traces(2)
    project.enqueue_many("tests.sample.tasks.touch", [(str(project.trace), f"waiting {n}") for n in range(waiting)])
    return cluster


def let_them_finish(project: Project) -> None:
    (project.folder / "end").touch()


@each_once("number", [signal.SIGTERM, signal.SIGINT])
def test_running_tasks_finish_and_waiting_ones_stay(
    make_project: MakeProject, broker: str, number: signal.Signals
) -> None:
    project = make_project(broker)
    cluster = start_busy(project)

    cluster.signal(number)
    cluster.wait_for_log(STOPPING)
    let_them_finish(project)

    assert cluster.wait_for_exit() == ExitCode.GRACEFUL
    assert [row.status for row in project.rows()] == ["success", "success"]
    assert len(project.traces()) == 2
    assert project.broker().size().ready == 10
    assert {delivery.attempt for delivery in lease_all(project.broker(), 10)} == {1}


@on_every_broker_before_release
def test_a_signal_to_the_whole_group_is_a_graceful_stop_too(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    cluster = start_busy(project)

    cluster.signal_group(signal.SIGTERM)
    cluster.wait_for_log(STOPPING)
    let_them_finish(project)

    assert cluster.wait_for_exit() == ExitCode.GRACEFUL
    assert [row.status for row in project.rows()] == ["success", "success"]
    assert project.broker().size().ready == 10


@on_every_broker
def test_what_comes_during_a_stop_is_left_to_others(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker)
    stopping = project.start()
    project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(project.folder / "end"))
    project.wait_for_traces(1)  # the other worker has nothing to do

    stopping.signal(signal.SIGTERM)
    stopping.wait_for_log(STOPPING)
    ids = project.enqueue_many("tests.sample.tasks.add", [(1, 1)] * 3)
    project.start()

    assert [project.wait_for_row(task_id).attempt_count for task_id in ids] == [1, 1, 1]
    assert stopping.alive
    let_them_finish(project)
    assert stopping.wait_for_exit() == ExitCode.GRACEFUL


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_signal_to_the_whole_group_is_graceful_however_processes_were_started(
    make_project: MakeProject, method: str
) -> None:
    project = make_project(start_method=method)
    cluster = start_busy(project)

    cluster.signal_group(signal.SIGTERM)
    cluster.wait_for_log(STOPPING)
    let_them_finish(project)

    assert cluster.wait_for_exit() == ExitCode.GRACEFUL
    assert [row.status for row in project.rows()] == ["success", "success"]


def test_ctrl_c_in_a_terminal_is_a_graceful_stop(make_project: MakeProject) -> None:
    project = make_project()
    cluster = start_busy(project)

    cluster.signal_group(signal.SIGINT)
    cluster.wait_for_log(STOPPING)
    let_them_finish(project)

    assert cluster.wait_for_exit() == ExitCode.GRACEFUL
    assert [row.status for row in project.rows()] == ["success", "success"]


@each_once("manner", ["second TERM", "second INT to the group", "QUIT", "QUIT to the group"])
def test_a_stop_at_once_gives_running_tasks_back_and_costs_no_attempt(
    make_project: MakeProject, broker: str, manner: str
) -> None:
    project = make_project(broker, max_attempts=1)
    cluster = project.start()
    task_id = project.enqueue("tests.e2e.tasks.hang_the_first_time", str(project.trace))
    project.wait_for_traces(1)

    first, second = (signal.SIGTERM, signal.SIGTERM) if "TERM" in manner else (signal.SIGINT, signal.SIGINT)
    send = cluster.signal_group if "group" in manner else cluster.signal
    if "QUIT" in manner:
        send(signal.SIGQUIT)
    else:
        send(first)
        cluster.wait_for_log(STOPPING)
        send(second)

    assert cluster.wait_for_exit(within=8) == ExitCode.KILLED_TASKS
    assert "ERROR" not in cluster.logs, "what was wanted is no error"
    assert project.count() == 0
    assert project.broker().size().ready == 1
    project.start()
    row = project.wait_for_row(task_id)
    assert fields(row, "status", "result", "attempt_count") == {"status": "success", "result": 2, "attempt_count": 1}


@on_every_broker_always
def test_a_task_that_does_not_end_in_time_is_given_back(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, shutdown_timeout=0.5)
    cluster = project.start()
    task_id = project.enqueue("tests.e2e.tasks.hang_the_first_time", str(project.trace))
    project.wait_for_traces(1)

    cluster.signal(signal.SIGTERM)

    assert cluster.wait_for_exit(within=8) == ExitCode.KILLED_TASKS
    assert "did not finish within shutdown_timeout" in cluster.logs
    project.start()
    assert project.wait_for_row(task_id).attempt_count == 1


def test_time_limits_hold_during_a_stop(make_project: MakeProject) -> None:
    project = make_project(timeout=1, kill_grace=0.3)
    cluster = project.start()
    soft = project.enqueue("tests.sample.tasks.touch_and_sleep", str(project.trace), 60)
    hard = project.enqueue("tests.sample.tasks.touch_and_hang_deaf", str(project.trace), 60)
    project.wait_for_traces(2)

    cluster.signal(signal.SIGTERM)

    assert cluster.wait_for_exit(within=10) == ExitCode.GRACEFUL
    assert [project.row(task_id).status for task_id in (soft, hard)] == ["timeout", "timeout"]  # type: ignore[union-attr]


def test_an_idle_cluster_stops_at_once(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()

    cluster.signal(signal.SIGTERM)

    assert cluster.wait_for_exit(within=5) == ExitCode.GRACEFUL


def test_a_cluster_may_be_stopped_while_it_starts(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.launch("-m", "django", "qcluster")
    cluster.wait_for_log("starting:")

    cluster.signal(signal.SIGTERM)

    assert cluster.wait_for_exit(within=10) == ExitCode.GRACEFUL


@pytest.mark.parametrize("role", ["monitor", "pusher", "worker", "scheduler"])
def test_a_process_that_dies_during_the_stop_does_not_hold_it_up(make_project: MakeProject, role: str) -> None:
    project = make_project(retry=2, max_attempts=0, retry_delay=0.1)
    cluster = start_busy(project)
    victim = cluster.pid_of(role)

    cluster.signal(signal.SIGTERM)
    cluster.wait_for_log(STOPPING)
    if role != "scheduler":  # it has left by now, or is about to
        os.kill(victim, signal.SIGKILL)
    let_them_finish(project)

    assert cluster.wait_for_exit() == ExitCode.GRACEFUL
    project.start()
    assert all(row.success for row in project.wait_for_rows(12))


def test_a_thread_that_a_task_left_behind_does_not_hold_up_the_stop(make_project: MakeProject) -> None:
    project = make_project(shutdown_timeout=1)
    cluster = project.start()
    assert project.wait_for_row(project.enqueue("tests.e2e.tasks.leave_thread_behind")).success

    cluster.signal(signal.SIGTERM)

    cluster.wait_for_exit(within=10)


def test_a_paused_broker_does_not_hold_up_the_stop(make_project: MakeProject) -> None:
    from tests.servers import RedisServer, require

    require("redis")
    server = RedisServer().start()
    try:
        project = make_project("redis", server=server, shutdown_timeout=1)
        cluster = project.start()

        with server.paused():
            cluster.signal(signal.SIGTERM)

            cluster.wait_for_exit(within=25)
    finally:
        server.stop()


def in_terminal(project: Project, *before: str) -> tuple[Terminal, Path]:
    """A cluster that somebody has started in a terminal window; its log goes to the file."""
    log = project.folder / "terminal.log"
    log.touch()
    command = shlex.join([*before, sys.executable, *QCLUSTER])
    return Terminal(["sh", "-c", f"exec {command} >{log} 2>&1"], project.environment()), log


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_closed_terminal_is_a_graceful_stop_however_often_it_is_told(make_project: MakeProject, method: str) -> None:
    project = make_project(start_method=method)
    terminal, log = in_terminal(project)
    with terminal:
        wait_until(lambda: "is running" in log.read_text(), 2 * PATIENCE, "the cluster should run")
        project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(project.folder / "end"))
        project.wait_for_traces(1)

        terminal.hang_up()
        wait_until(lambda: STOPPING in log.read_text(), PATIENCE, "the cluster should stop")
        os.killpg(terminal.process.pid, signal.SIGHUP)  # by the shell as well
        waiting = project.enqueue("tests.sample.tasks.add", 1, 1)
        let_them_finish(project)

        assert terminal.process.wait(2 * PATIENCE) == ExitCode.GRACEFUL, log.read_text()
    assert [row.status for row in project.rows()] == ["success"]
    assert project.row(waiting) is None
    assert "terminal closed (SIGHUP)" in log.read_text()


def test_a_cluster_under_nohup_outlives_its_terminal(make_project: MakeProject) -> None:
    project = make_project()
    terminal, log = in_terminal(project, "nohup")
    with terminal:
        wait_until(lambda: "is running" in log.read_text(), 2 * PATIENCE, "the cluster should run")

        terminal.hang_up()

        wait_until(lambda: "Restarting all workers (SIGHUP)" in log.read_text(), PATIENCE, "SIGHUP should be heard")
        assert "restart the cluster to deploy new code" in log.read_text()
        assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).success
        terminal.process.terminate()
        assert terminal.process.wait(2 * PATIENCE) == ExitCode.GRACEFUL, log.read_text()


def test_a_stop_keeps_its_limit_where_results_cannot_be_recorded(make_project: MakeProject) -> None:
    project = make_project(shutdown_timeout=1, heartbeat_interval=0)
    cluster = start_busy(project, waiting=0)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_cluster_task RENAME TO django_cluster_task_away")
    let_them_finish(project)
    cluster.wait_for_log("Result store or broker unavailable")

    cluster.signal(signal.SIGTERM)

    # One second for tasks, four to give back; ten seconds each for two processes would be too long.
    assert cluster.wait_for_exit(within=19) == ExitCode.KILLED_TASKS
    assert "its last results were not recorded in time" in cluster.logs
    assert "Traceback" not in cluster.logs


def test_only_the_sentinel_ends_a_child(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()
    before = {process.pid for process in cluster.members()}

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        for pid in before - {cluster.pid}:
            os.kill(pid, number)

    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).success
    assert {process.pid for process in cluster.members()} == before
