"""Crashes have names: the row says what ended the worker, after how long, and how much memory it had held."""

from __future__ import annotations

import os
import re
import signal
from typing import Any, NamedTuple

import pytest

from django_cluster.models import Task
from django_cluster.tasks import retry
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.fields import fields

ROUGH = "tests.e2e.misbehaving_tasks"

BUSY = 0.5
"""Seconds of work before the end: the guard looks more often than that."""


class Crash(NamedTuple):
    func: str
    args: tuple[Any, ...]
    kind: str
    said: str
    stack: str = ""
    """A line of the Python stack, where the interpreter could still write one."""


CRASHES = {
    "SIGKILL": Crash("work_and_die_of", (int(signal.SIGKILL), BUSY), "WorkerLost", "killed by signal 9 (SIGKILL)"),
    "SIGTERM": Crash("work_and_die_of", (int(signal.SIGTERM), BUSY), "WorkerLost", "killed by signal 15 (SIGTERM)"),
    "os._exit": Crash("work_and_leave", (7, BUSY), "WorkerLost", "ended with exit code 7"),
    "os._exit(0)": Crash("work_and_leave", (0, BUSY), "WorkerLost", "ended with exit code 0"),
    "segfault": Crash("work_and_crash", (BUSY,), "WorkerLost", "killed by signal 11 (SIGSEGV)", "in read_from_nowhere"),
}


def seconds_and_kilobytes(row: Task) -> tuple[float, int]:
    """What the row says of run time and memory."""
    found = re.search(r"had run for ([\d.]+) seconds, and the worker had held up to (\d+) kB", row.error_message)
    assert found, row.error_message
    return float(found[1]), int(found[2])


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_has_a_name(make_project: MakeProject, name: str) -> None:
    crash = CRASHES[name]
    project = make_project(workers=1, guard_cycle=0.1)
    worker = project.start().pid_of("worker")

    row = project.wait_for_row(project.enqueue(f"{ROUGH}.{crash.func}", *crash.args))

    assert row.worker == f"worker 1 ({os.uname().nodename}:{worker})", (
        "as it stands in the rows of tasks that ended well"
    )
    assert fields(row, "status", "final", "error_kind") == {"status": "lost", "final": True, "error_kind": crash.kind}
    assert crash.said in row.error_message
    assert crash.stack in row.error_traceback
    run_time, memory = seconds_and_kilobytes(row)
    assert BUSY <= run_time < BUSY + 3
    assert BUSY <= row.run_time < BUSY + 3
    assert 5_000 < memory < 1_000_000


def test_a_crash_in_the_first_moment_has_a_name_too(make_project: MakeProject) -> None:
    project = make_project(workers=1, guard_cycle=30)
    project.start()

    row = project.wait_for_row(project.enqueue("tests.e2e.tasks.segfault"))

    assert "in segfault" in row.error_traceback
    run_time, memory = seconds_and_kilobytes(row)
    assert run_time < 2
    assert 5_000 < memory < 1_000_000


def test_a_hard_time_out_has_a_name(make_project: MakeProject) -> None:
    project = make_project(workers=1, timeout=0.5, kill_grace=0.2, guard_cycle=0.1)
    project.start()

    row = project.wait_for_row(project.enqueue("tests.e2e.tasks.stay_in_c"))

    assert (row.status, row.error_kind) == ("timeout", "django_cluster.errors.TaskTimeout")
    assert "overran its time limit" in row.error_message
    run_time, memory = seconds_and_kilobytes(row)
    assert 0.7 <= run_time < 3
    assert memory > 5_000


def test_too_much_memory_in_mid_task_has_a_name(make_project: MakeProject) -> None:
    limit = 150_000
    project = make_project(workers=1, max_rss_kill=limit, guard_cycle=0.1)
    cluster = project.start()
    worker = cluster.pid_of("worker")

    row = project.wait_for_row(project.enqueue(f"{ROUGH}.hold", 200, 60))

    assert fields(row, "status", "final", "error_kind") == {
        "status": "lost",
        "final": True,
        "error_kind": "OutOfMemory",
    }
    assert "more memory than max_rss_kill allows" in row.error_message
    assert seconds_and_kilobytes(row)[1] > limit
    cluster.wait_for_replacement("worker", worker)
    assert project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1)).result == 2


@pytest.mark.parametrize("broker", ["orm", "redis"])
def test_a_task_under_which_three_workers_died_is_kept_and_can_be_sent_again(
    make_project: MakeProject, broker: str
) -> None:
    project = make_project(broker, max_attempts=0, retry_delay=0.05)
    project.start()
    cause = project.folder / "cause"
    cause.touch()
    task_id = project.enqueue(f"{ROUGH}.die_while_it_exists", str(cause), str(project.trace), group="the group")
    dead = project.wait_for_row(task_id)
    assert (dead.status, dead.final, dead.attempt_count, len(project.traces())) == ("dead", True, 3, 3)
    assert dead.payload
    assert [attempt["status"] for attempt in dead.attempts or ()] == ["lost", "lost"]
    assert all("signal 9" in attempt["message"] for attempt in dead.attempts or ())

    cause.unlink()
    retry(dead)

    wait_until(lambda: project.count(success=True) == 1, 20, "it should have been run again")
    (row,) = project.rows()
    assert fields(row, "id", "status", "result", "group", "attempt_count") == {
        "id": task_id,
        "status": "success",
        "result": "cured",
        "group": "the group",
        "attempt_count": 1,
    }
    assert (row.args, row.payload) == ((str(cause), str(project.trace)), None)
    assert len(project.traces()) == 4
    wait_until(lambda: project.broker().size().total == 0, because="the message should have been acknowledged")
