"""What hooks do to their process, or how long they hang, concerns no record."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from django_cluster.models import Task
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject

HERE = "tests.e2e.test_hooks"


def hang(task: Task) -> None:
    time.sleep(29)


def note(task: Task) -> None:
    """Write down which process was called for which task; ``group`` is the file."""
    with Path(str(task.group)).open("a", encoding="utf-8") as trace:
        trace.write(f"{os.getpid()} {task.name}\n")


def note_and_die(task: Task) -> None:
    note(task)
    os.kill(os.getpid(), signal.SIGKILL)


def test_hooks_that_hang_delay_no_record_and_no_stop(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()

    project.enqueue_many("tests.sample.tasks.nothing", [()] * 100, hook=f"{HERE}.hang")

    project.wait_for_rows(100)
    assert cluster.stop() == 0
    assert "The cluster stops; hooks and receivers of 100 tasks are not called." in cluster.logs


def test_a_hook_that_kills_its_process_is_called_once_and_the_next_ones_are_called(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    cluster = project.start()
    assert cluster.pids("notifier") == []

    for name, hook in (("first", note), ("deadly", note_and_die), ("last", note)):
        path = f"{HERE}.{hook.__name__}"
        project.enqueue("tests.sample.tasks.nothing", hook=path, group=str(project.trace), task_name=name)

    first, deadly, last = (line.split() for line in project.wait_for_traces(3))
    assert [first[1], deadly[1], last[1]] == ["first", "deadly", "last"]
    assert first[0] == deadly[0] != last[0]
    wait_until(lambda: cluster.pids("notifier") == [int(last[0])], because="there should be one notifier")
    assert cluster.stop() == 0
    assert len(project.traces()) == 3


def test_a_stop_waits_for_hooks_that_end(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()
    project.enqueue_many("tests.sample.tasks.nothing", [()] * 200, hook=f"{HERE}.note", group=str(project.trace))
    project.wait_for_rows(200)

    assert cluster.stop() == 0

    assert len(project.traces()) == 200
