"""What hooks do to their process, or how long they hang, concerns no record."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from django_cluster import control
from django_cluster.cluster.roles import notifier
from django_cluster.errors import TaskTimeout
from django_cluster.lifecycle import notification
from django_cluster.models import Task
from django_cluster.stores.status import ProcessStatus
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.running_cluster import PATIENCE

HERE = "tests.e2e.test_hooks"
NOTHING = "tests.sample.tasks.nothing"


def hang(task: Task) -> None:
    time.sleep(29)


def note(task: Task) -> None:
    """Write down which process was called for which task; ``group`` is the file."""
    with Path(str(task.group)).open("a", encoding="utf-8") as trace:
        trace.write(f"{os.getpid()} {task.name}\n")


def note_and_die(task: Task) -> None:
    note(task)
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_wait(task: Task) -> None:
    """Until a file beside the trace says that the cluster stops."""
    note(task)
    wait_until(Path(f"{task.group}.go").exists, within=25)


def shorten_the_limit(task: Task) -> None:
    """For all hooks that come after this one, in this process."""
    note(task)
    for module in (notifier, notification):
        vars(module)["HOOK_TIMEOUT"] = 0.5


def note_and_overrun(task: Task) -> None:
    """Go on whatever the soft limit says."""
    note(task)
    while True:
        with suppress(TaskTimeout):
            time.sleep(60)


def test_hooks_that_hang_delay_no_record_and_no_stop(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()

    project.enqueue_many(NOTHING, [()] * 100, hook=f"{HERE}.hang")

    project.wait_for_rows(100)
    assert cluster.stop() == 0
    assert re.search(r"Hooks and receivers of \d+ tasks dropped: the cluster stops", cluster.logs)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_hooks_are_called_by_one_process_that_is_started_for_them(make_project: MakeProject, method: str) -> None:
    project = make_project(workers=1)
    cluster = project.start(start_method=method)
    project.wait_for_row(project.enqueue(NOTHING))
    assert cluster.pids("notifier") == []  # nobody has anything to call

    project.enqueue_many(NOTHING, [()] * 3, hook=f"{HERE}.note", group=str(project.trace))

    pids = {int(line.split()[0]) for line in project.wait_for_traces(3)}
    assert pids == set(cluster.pids("notifier"))
    assert cluster.stop() == 0
    assert len(project.traces()) == 3


def test_a_hook_that_kills_its_process_is_called_once_and_the_next_ones_are_called(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    cluster = project.start()

    for name, hook in (("first", note), ("deadly", note_and_die), ("last", note)):
        path = f"{HERE}.{hook.__name__}"
        project.enqueue(NOTHING, hook=path, group=str(project.trace), task_name=name)

    first, deadly, last = (line.split() for line in project.wait_for_traces(3))
    assert [first[1], deadly[1], last[1]] == ["first", "deadly", "last"]
    assert first[0] == deadly[0] != last[0]
    wait_until(lambda: cluster.pids("notifier") == [int(last[0])], because="there should be one notifier")
    assert cluster.stop() == 0
    assert len(project.traces()) == 3


def test_a_hook_that_goes_on_after_its_limit_is_killed_and_the_next_ones_are_called(make_project: MakeProject) -> None:
    project = make_project(workers=1, kill_grace=0.5)
    cluster = project.start()

    for name, hook in (("short", shorten_the_limit), ("endless", note_and_overrun), ("last", note)):
        path = f"{HERE}.{hook.__name__}"
        project.enqueue(NOTHING, hook=path, group=str(project.trace), task_name=name)

    short, endless, last = (line.split() for line in project.wait_for_traces(3))
    assert [short[1], endless[1], last[1]] == ["short", "endless", "last"]
    assert short[0] == endless[0] != last[0]
    cluster.wait_for_log(f"notifier (pid {endless[0]}) killed: a hook or receiver exceeded its time limit")
    assert cluster.stop() == 0
    assert len(project.traces()) == 3


def test_a_running_hook_is_shown_with_its_limit(make_project: MakeProject) -> None:
    """Its process is busy then, as one that runs a task: its deadline counts, and no silence."""
    project = make_project(workers=1, heartbeat_interval=0.2)
    cluster = project.start()
    task_id = project.enqueue(NOTHING, hook=f"{HERE}.note_and_wait", group=str(project.trace))
    project.wait_for_traces(1)
    shown: list[ProcessStatus] = []

    def seen() -> bool:
        shown[:] = [each for one in control.clusters() for each in one.processes if each.role == "notifier"]
        return bool(shown and shown[0].task)

    wait_until(seen, PATIENCE, "the notifier should be shown")
    Path(f"{project.trace}.go").touch()

    assert (shown[0].state, shown[0].pid) == ("busy", cluster.pid_of("notifier"))
    assert shown[0].task is not None
    assert (shown[0].task.id, shown[0].task.func) == (task_id, f"{HERE}.note_and_wait")
    assert shown[0].task.limit == pytest.approx(notification.HOOK_TIMEOUT, abs=5)
    assert cluster.stop() == 0


def test_a_stop_waits_for_hooks_that_end(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()
    project.enqueue(NOTHING, hook=f"{HERE}.note_and_wait", group=str(project.trace))
    project.wait_for_traces(1)
    project.enqueue_many(NOTHING, [()] * 10, hook=f"{HERE}.note", group=str(project.trace))
    project.wait_for_rows(11)
    assert len(project.traces()) == 1

    cluster.signal(signal.SIGTERM)
    cluster.wait_for_log("stopping: waiting for running tasks")
    Path(f"{project.trace}.go").touch()

    assert cluster.wait_for_exit() == 0
    assert len(project.traces()) == 11
