"""What a task leaves behind in its worker: no other task finds it, and the cluster can be stopped as ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from django_cluster.cluster.supervisor.sentinel import ExitCode
from tests.conftest import wait_until
from tests.e2e import misbehaving_tasks as rough
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.sample.tasks import add

SIZE = 20 * 1024 * 1024


# -- large, and of strange letters ------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_result_of_20_megabytes_is_kept(make_project: MakeProject, database: str) -> None:
    project = make_project("orm", database, workers=1)
    project.start()

    row = project.wait_for_row(project.enqueue(rough.give, SIZE))

    assert row.success
    assert len(row.result) == SIZE
    assert project.wait_for_row(project.enqueue(add, 1, 1)).result == 2


def test_a_result_that_is_larger_than_the_server_takes_is_left_out_and_said(make_project: MakeProject) -> None:
    project = make_project("orm", "mariadb", workers=1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (limit,) = cursor.fetchone()
    project.start()

    row = project.wait_for_row(project.enqueue(rough.give, limit + SIZE))

    assert (row.success, row.result) == (True, None)
    assert "could not be saved" in row.error_message
    assert project.wait_for_row(project.enqueue(add, 1, 1)).result == 2


@pytest.mark.parametrize("database", ["postgres", "mariadb"])
def test_letters_that_a_database_refuses_cost_no_row(make_project: MakeProject, database: str) -> None:
    project = make_project("orm", database, workers=1, max_attempts=2, retry_delay=0.05)
    project.start()

    given = project.wait_for_row(project.enqueue(rough.give_text))
    failed = project.wait_for_row(project.enqueue(rough.fail_with_text))

    assert given.result == rough.give_text()
    assert (failed.status, failed.error_kind) == ("failure", "ValueError")
    assert failed.error_message.startswith("NUL \N{REPLACEMENT CHARACTER}, half a pair ")
    assert "in fail_with_text" in failed.error_traceback
    assert [each["message"][:5] for each in failed.attempts or ()] == ["NUL \N{REPLACEMENT CHARACTER}"]
    assert project.wait_for_row(project.enqueue(add, 1, 1)).result == 2


# -- signals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["default", "handler"])
def test_after_a_task_that_took_the_signals_a_stop_is_as_graceful_as_ever(make_project: MakeProject, how: str) -> None:
    project = make_project(workers=1)
    cluster = project.start()
    assert project.wait_for_row(project.enqueue(rough.take_all_signals, how)).success
    end = project.folder / "end"
    task_id = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(end))
    project.wait_for_traces(1)

    cluster.signal_group(signal.SIGTERM)
    cluster.wait_for_log("stopping: waiting for running tasks")
    end.touch()

    assert cluster.wait_for_exit() == ExitCode.GRACEFUL
    assert project.wait_for_row(task_id).success


def test_after_a_task_that_blocked_all_signals_the_time_limit_still_holds(make_project: MakeProject) -> None:
    project = make_project(workers=1, timeout=0.5, kill_grace=20)
    cluster = project.start()
    worker = cluster.pid_of("worker")
    assert project.wait_for_row(project.enqueue(rough.block_all_signals)).success

    row = project.wait_for_row(project.enqueue("tests.sample.tasks.sleep", 60), within=10)

    assert (row.status, row.success) == ("timeout", False)
    assert cluster.pid_of("worker") == worker


def test_an_alarm_that_a_task_has_forgotten_does_not_ring_in_the_next(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start()

    worker = project.wait_for_row(project.enqueue(rough.set_the_alarm, 0.3)).result

    assert project.wait_for_row(project.enqueue("tests.sample.tasks.sleep", 0.6)).success
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.process_id")).result == worker


def test_after_a_task_that_did_not_care_for_children_the_next_hears_of_its_own(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start()
    assert project.wait_for_row(project.enqueue(rough.stop_listening_to_children)).success

    assert project.wait_for_row(project.enqueue(rough.run_a_program)).result == 3


# -- folders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [rough.move_to, rough.move_to_a_folder_that_disappears])
def test_the_next_task_starts_in_the_old_folder(make_project: MakeProject, move: Callable[[str], None]) -> None:
    project = make_project(workers=1)
    project.start()
    before = project.wait_for_row(project.enqueue(rough.current_folder)).result
    folder = str(project.folder) if move is rough.move_to else str(project.folder / "soon gone")

    assert project.wait_for_row(project.enqueue(move, folder)).success

    assert project.wait_for_row(project.enqueue(rough.current_folder)).result == before == os.getcwd()


# -- connections ------------------------------------------------------------------------------------


def names() -> set[str]:
    return set(Group.objects.values_list("name", flat=True))


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_a_transaction_that_a_task_left_open_takes_no_other_task_with_it(
    make_project: MakeProject, database: str
) -> None:
    project = make_project("orm", database, workers=1)
    project.start()

    assert project.wait_for_row(project.enqueue(rough.begin_and_forget, "never committed")).success
    assert project.wait_for_row(project.enqueue(rough.write, "committed")).success

    assert names() == {"committed"}


@pytest.mark.parametrize("database", ["sqlite", "postgres", "mariadb"])
def test_a_connection_that_a_task_closed_is_open_to_the_next(make_project: MakeProject, database: str) -> None:
    project = make_project("orm", database, workers=1)
    project.start()

    assert project.wait_for_row(project.enqueue(rough.close_the_connection, "one")).success
    assert project.wait_for_row(project.enqueue(rough.write, "two")).success

    assert names() == {"one", "two"}


# -- children and threads ---------------------------------------------------------------------------


def test_a_thread_that_a_task_left_behind_disturbs_no_other_task(make_project: MakeProject) -> None:
    project = make_project(workers=1, recycle=3)
    cluster = project.start()
    worker = cluster.pid_of("worker")

    ids = project.enqueue_many("tests.e2e.tasks.leave_thread_behind", [()] * 6)

    assert all(project.wait_for_row(task_id).success for task_id in ids)
    wait_until(lambda: worker not in cluster.pids("worker"), 10, "the worker should have been replaced all the same")


def check_that_the_child_is_gone(project: Project, before: set[int], members: Callable[[], set[int]]) -> None:
    assert sorted(project.traces()) == ["child", "parent"]
    wait_until(lambda: members() == before, because="the child should have ended, and nobody else")


@pytest.mark.parametrize("func", [rough.fork_and_return, rough.fork_and_raise])
def test_a_child_that_returns_into_the_worker_ends_without_a_word(
    make_project: MakeProject, func: Callable[[str], Any]
) -> None:
    project = make_project(workers=1, max_attempts=1)
    cluster = project.start()
    before = {process.pid for process in cluster.members()}

    row = project.wait_for_row(project.enqueue(func, str(project.trace)))

    assert (row.status, row.attempt_count) == ("success", 1)
    assert project.wait_for_row(project.enqueue(add, 1, 1)).result == 2
    assert project.count() == 2
    check_that_the_child_is_gone(project, before, lambda: {process.pid for process in cluster.members()})
