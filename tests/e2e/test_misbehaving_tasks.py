"""Whatever a task does: it leaves a row, and the cluster works on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.project import QCLUSTER
from tests.e2e.running_cluster import ROOT
from tests.fields import fields

SAMPLE = "tests.sample.tasks"
WORSE = "tests.e2e.tasks"


class Case(NamedTuple):
    func: str
    args: tuple[Any, ...]
    status: str
    reason: str
    """A part of what the row says of the error."""


CASES = {
    "raises": Case(f"{SAMPLE}.fail", ("no luck",), "failure", "no luck"),
    "sys.exit": Case(f"{SAMPLE}.exit_politely", (3,), "failure", "SystemExit"),
    "os._exit": Case(f"{SAMPLE}.leave", (3,), "lost", "exit code 3"),
    "os._exit(0)": Case(f"{SAMPLE}.leave", (0,), "lost", "exit code 0"),
    "kill -9": Case(f"{SAMPLE}.die", (), "lost", "signal 9"),
    "segmentation fault": Case(f"{WORSE}.segfault", (), "lost", "signal 11"),
    "BaseException": Case(f"{SAMPLE}.fail_badly", ("BaseException",), "failure", "BaseException"),
    "KeyboardInterrupt": Case(f"{SAMPLE}.fail_badly", ("KeyboardInterrupt",), "failure", "KeyboardInterrupt"),
    "GeneratorExit": Case(f"{SAMPLE}.fail_badly", ("GeneratorExit",), "failure", "GeneratorExit"),
    "CancelledError": Case(f"{SAMPLE}.fail_badly", ("CancelledError",), "failure", "CancelledError"),
    "MemoryError": Case(f"{SAMPLE}.fail_badly", ("MemoryError",), "failure", "MemoryError"),
    "unpicklable result": Case(f"{SAMPLE}.unpicklable", (), "failure", "this value stays where it is"),
    "endless recursion": Case(f"{WORSE}.recurse", (), "failure", "RecursionError"),
    "open transaction": Case(f"{WORSE}.open_transaction_and_fail", (), "failure", "no luck"),
    "no such function": Case(f"{SAMPLE}.nobody", (), "rejected", "nobody"),
    "no such module": Case("tests.sample.nowhere.nobody", (), "rejected", "nowhere"),
    "wrong arguments": Case("tests.e2e.unseen_tasks.add", (1, 2, 3), "failure", "TypeError"),
}


@pytest.mark.parametrize("name", CASES)
def test_whatever_a_task_does_it_leaves_a_row_and_the_cluster_works_on(make_project: MakeProject, name: str) -> None:
    case = CASES[name]
    project = make_project(workers=1)
    project.start()

    task_id = project.enqueue(case.func, *case.args)

    row = project.wait_for_row(task_id, within=10)
    assert fields(row, "status", "success", "final", "func") == {
        "status": case.status,
        "success": False,
        "final": True,
        "func": case.func,
    }
    assert case.reason in f"{row.error_kind} {row.error_message} {row.error_traceback}"
    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2


def test_a_coroutine_function_that_the_sender_has_not_seen_runs(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start()

    row = project.wait_for_row(project.enqueue("tests.e2e.unseen_tasks.add_later", 1, 2), within=10)

    assert (row.status, row.result) == ("success", 3)
    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2


def test_a_task_that_closes_every_descriptor_costs_only_its_worker(make_project: MakeProject) -> None:
    project = make_project(workers=1, retry=2)
    project.start().may_crash = True

    project.enqueue(f"{WORSE}.close_every_descriptor")

    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2
    project.wait_for_rows(2)


def test_the_sentinel_sleeps_while_a_task_runs_that_has_closed_every_descriptor(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(workers=1, guard_cycle=0.1)
    cluster = project.start()
    cluster.may_crash = True
    end = tmp_path / "end"
    task_id = project.enqueue(f"{WORSE}.close_every_descriptor_and_wait_for", str(project.trace), str(end))
    project.wait_for_traces(1)
    sentinel = psutil.Process(cluster.pid_of("sentinel"))
    naps = sentinel.num_ctx_switches().voluntary
    used = sum(sentinel.cpu_times()[:2])

    wait_until(lambda: sentinel.num_ctx_switches().voluntary - naps >= 10, because="it looks ten times a second")

    assert sum(sentinel.cpu_times()[:2]) - used < 0.3, "somebody who sleeps between two looks needs no time for them"
    end.touch()
    assert project.wait_for_row(task_id).status == "lost"


def test_a_worker_that_an_error_ends_does_not_wait_for_a_thread_of_a_task(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start().may_crash = True

    row = project.wait_for_row(project.enqueue(f"{WORSE}.leave_thread_behind_and_close_every_descriptor"))

    assert (row.status, "exit code 1" in row.error_message) == ("lost", True)


def test_a_task_that_closes_the_standard_streams_harms_nobody(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    project.start()

    row = project.wait_for_row(project.enqueue(f"{WORSE}.close_standard_streams"), within=10)

    assert row.success
    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.fail")).status == "failure"


def test_a_dead_worker_is_noticed_while_a_child_of_its_task_lives(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    cluster = project.start()

    task_id = project.enqueue(f"{WORSE}.fork_and_die", str(project.trace))

    row = project.wait_for_row(task_id, within=15, because="the child holds copies of the lines of the dead worker")
    assert row.status == "lost"
    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2
    project.trace.unlink()
    wait_until(lambda: len(cluster.members()) == 5, because="the child of the task should have ended by now")


def test_a_module_that_fails_on_import_leaves_a_row(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    folder = project.folder / "code"
    folder.mkdir()
    Path(folder, "broken_module.py").write_text("raise OSError('no disk')\n")
    project.start(environment={"PYTHONPATH": str(folder)})

    row = project.wait_for_row(project.enqueue("broken_module.task"), within=10)

    assert not row.success
    assert "no disk" in f"{row.error_message} {row.error_traceback}"
    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2


def test_a_forked_child_that_comes_back_from_the_task_changes_nothing(make_project: MakeProject) -> None:
    project = make_project(workers=1, timeout=1, kill_grace=0.5)
    project.start()

    task_id = project.enqueue(f"{WORSE}.fork_and_forget", str(project.trace))

    row = project.wait_for_row(task_id, within=10, because="the hard limit holds although the child has ended the task")
    assert row.status == "timeout"
    assert len(project.traces()) == 2
    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2


def test_a_dead_worker_is_noticed_while_programs_hold_everything_that_it_had_open(make_project: MakeProject) -> None:
    """Fifty programs that a task has left behind keep its worker's lines open; the sentinel knows that it is dead."""
    project = make_project(workers=2)
    cluster = project.start()
    task_id = project.enqueue(f"{WORSE}.leave_programs_and_wait", str(project.trace), 50)
    programs = [int(pid) for pid in project.wait_for_traces(50)]
    worker = psutil.Process(programs[0]).ppid()

    os.kill(worker, signal.SIGKILL)

    try:
        row = project.wait_for_row(task_id, within=15, because="the sentinel has written how it ended")
        assert row.status == "lost"
        assert "signal 9" in row.error_message
        assert all(psutil.pid_exists(program) for program in programs)
        assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2
        cluster.signal(signal.SIGTERM)
        wait_until(lambda: not cluster.alive, within=8, because="their lines must not keep the monitor either")
    finally:
        for program in programs:
            os.kill(program, signal.SIGKILL)


@pytest.mark.parametrize(
    ("kind", "limit"), [("file descriptors", "ulimit -n 64"), ("memory", "ulimit -v 2000000")], ids=lambda word: word
)
def test_a_worker_whose_task_has_used_up_everything_leaves_the_others_to_its_successor(
    make_project: MakeProject, kind: str, limit: str
) -> None:
    project = make_project(workers=1, recycle=0)
    prefix = ("sh", "-c", f'{limit} && exec "$@"', "sh")
    cluster = project.launch(*QCLUSTER, prefix=prefix).wait_ready()

    greedy = project.enqueue(f"{WORSE}.keep_every", kind)
    ids = project.enqueue_many(f"{WORSE}.need", [(kind,)] * 80)

    assert {row.id for row in project.wait_for_rows(81) if row.success} == {greedy, *ids}
    cluster.wait_for_log(f"a task has used up its {kind}")


def test_a_cluster_whose_working_folder_is_removed_goes_on(make_project: MakeProject) -> None:
    project = make_project(workers=1, recycle=2)
    prefix = ("sh", "-c", 'mkdir "$TMPDIR/here" && cd "$TMPDIR/here" && exec "$@"', "sh")
    project.launch(*QCLUSTER, prefix=prefix, environment={"PYTHONPATH": str(ROOT)}).wait_ready()

    project.wait_for_row(project.enqueue(f"{WORSE}.remove_working_folder"))
    ids = project.enqueue_many(f"{SAMPLE}.add", [(n, n) for n in range(10)])

    assert {row.id for row in project.wait_for_rows(11) if row.success} >= set(ids)
