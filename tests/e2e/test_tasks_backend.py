"""Tasks of Django's framework in whole clusters: killed workers, what a crash leaves, who serves which queue."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from signal import SIGKILL
from typing import Any, TypeAlias

import pytest
from django.test import override_settings

from tests.conftest import wait_until
from tests.e2e.brokers import BOTH
from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.e2e.running_cluster import PATIENCE, RunningCluster
from tests.sample import contract_tasks as tasks
from tests.tasks_framework import OWN, TaskResult, TaskResultStatus, tasks_setting

FAILED, RUNNING, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.RUNNING, TaskResultStatus.SUCCESSFUL

SEND_AND_DIE = "tests.e2e.framework_program"
IMMEDIATE = f"{'django.tasks' if OWN else 'django_tasks'}.backends.immediate.ImmediateBackend"

Result: TypeAlias = "TaskResult[..., Any]"
Start = Callable[..., RunningCluster]


class Site:
    """A project whose tasks are those of Django's framework."""

    def __init__(self, project: Project, setting: dict[str, Any], stack: ExitStack) -> None:
        self.project = project
        self.environment = {"TEST_TASKS": json.dumps(setting), "TEST_SIGNALS": str(project.folder / "signals")}
        stack.enter_context(override_settings(TASKS=setting))

    def start(self, *arguments: str, **changes: Any) -> RunningCluster:
        cluster = self.project.start(*arguments, environment=self.environment, **changes)
        cluster.may_crash = True  # the framework logs the traceback of each task that fails
        return cluster

    def signals(self) -> list[str]:
        file = self.project.folder / "signals"
        return file.read_text().splitlines() if file.exists() else []


def wait(result: Result, because: str = "") -> Result:
    """The result, as soon as the task is over."""

    def over() -> bool:
        result.refresh()
        return result.is_finished

    wait_until(over, PATIENCE, because or f"{result.task.name} should be over")
    return result


def names(result: Result) -> list[str]:
    return [each.exception_class.__name__ for each in result.errors]


@pytest.fixture
def make_site(make_project: MakeProject) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def make(setting: dict[str, Any] | None = None, **how: Any) -> Site:
            return Site(make_project(**how), setting or tasks_setting(), stack)

        yield make


@pytest.mark.parametrize("broker", BOTH)
def test_killed_workers_and_limits_end_an_attempt_and_not_the_row(make_site: Callable[..., Site], broker: str) -> None:
    setting = {**tasks_setting(TIMEOUT=1), "patient": tasks_setting(TIMEOUT=1, MAX_ATTEMPTS=2)["default"]}
    site = make_site(setting, broker=broker, retry_delay=0.1, kill_grace=0.3)
    site.start()

    killed = tasks.die_until.enqueue(9)
    again = tasks.die_until.using(backend="patient").enqueue(2)
    slow = tasks.hang_until.enqueue(9)
    slow_again = tasks.hang_until.using(backend="patient").enqueue(2)
    deaf = tasks.hang_deaf.enqueue()
    left = tasks.leave.enqueue("SystemExit")

    assert (wait(killed).status, names(killed), killed.attempts) == (FAILED, ["WorkerLost"], 1)
    assert (wait(again).status, again.return_value, names(again)) == (SUCCESSFUL, 2, ["WorkerLost"])
    assert len(set(again.worker_ids)) == 2
    assert (wait(slow).status, names(slow), slow.attempts) == (FAILED, ["TaskTimeout"], 1)
    assert (wait(slow_again).return_value, names(slow_again), slow_again.attempts) == (2, ["TaskTimeout"], 2)
    assert (wait(deaf).status, names(deaf)) == (FAILED, ["TaskTimeout"])
    assert (wait(left).status, names(left)) == (FAILED, ["SystemExit"])
    for result in (killed, slow, deaf):
        assert result.started_at is not None
        assert result.finished_at is not None
        assert result.errors[0].traceback
    finished = {
        "finished ClusterBackend die_until FAILED WorkerLost WorkerLost",
        "finished ClusterBackend die_until SUCCESSFUL WorkerLost None",
        "finished ClusterBackend hang_until FAILED TaskTimeout TaskTimeout",
        "finished ClusterBackend hang_until SUCCESSFUL TaskTimeout None",
        "finished ClusterBackend hang_deaf FAILED TaskTimeout TaskTimeout",
        "finished ClusterBackend leave FAILED SystemExit SystemExit",
    }
    wait_until(lambda: finished <= set(site.signals()), because="the end of each task should be told, with its error")
    assert sum("finished" in each for each in site.signals()) == len(finished)


@pytest.mark.parametrize(("broker", "database"), [("orm", "postgres"), ("redis", "sqlite")])
def test_quick_tasks_behind_one_that_kills_its_worker_run_once(
    make_site: Callable[..., Site], broker: str, database: str
) -> None:
    """Workers write down several of them as running before they call the first, and the others are handed over."""
    site = make_site(tasks_setting(MAX_ATTEMPTS=2), broker=broker, database=database, workers=2, retry_delay=0.1)
    del site.environment["TEST_SIGNALS"]  # the ends are left to the monitor where nothing listens
    backend: Any = tasks.die_until.get_backend()
    sent = backend.enqueue_many([(tasks.die_until, (2 if number in (50, 100) else 1,), {}) for number in range(120)])

    site.start()

    ended = [wait(result) for result in sent]
    assert {each.status for each in ended} == {SUCCESSFUL}
    assert {(each.attempts, *names(each)) for each in ended[:50]} == {(1,)}
    assert {(each.attempts, *names(each)) for each in ended[51:100]} == {(1,)}
    assert [(each.attempts, *names(each)) for each in (ended[50], ended[100])] == [(2, "WorkerLost")] * 2
    assert {each.return_value for each in ended[:50]} == {1}


@pytest.mark.parametrize("broker", BOTH)
def test_what_a_killed_cluster_was_running_is_run_again(make_site: Callable[..., Site], broker: str) -> None:
    """Nothing stays RUNNING forever, even if a whole machine is gone."""
    site = make_site(tasks_setting(MAX_ATTEMPTS=2), broker=broker, retry=2, retry_delay=0.1)
    end = site.project.folder / "end"
    cluster = site.start()
    result = tasks.hold.enqueue(str(site.project.trace), str(end))
    site.project.wait_for_traces(1)
    result.refresh()
    assert (result.status, result.attempts) == (RUNNING, 1)

    cluster.signal_group(SIGKILL)
    cluster.wait_for_exit()
    end.touch()
    site.start()

    assert (wait(result).status, result.return_value, result.attempts) == (SUCCESSFUL, 2, 2)
    assert names(result) == ["WorkerLost"]


def test_what_was_committed_and_never_sent_is_sent_by_the_scheduler_once(make_site: Callable[..., Site]) -> None:
    """A process dies between its commit and the message; another task only waits for longer than a lease."""
    site = make_site(broker="redis", retry=1)
    trace = str(site.project.trace)
    patient = tasks.write_attempt.enqueue(trace)
    program = site.project.launch("-m", SEND_AND_DIE, trace, environment=site.environment)
    assert program.process.wait(PATIENCE) == 9
    lost = tasks.write_attempt.get_result(program.logs.strip())
    assert site.project.broker().size().total == 1

    site.start()

    assert (wait(lost).status, lost.return_value) == (SUCCESSFUL, 1)
    assert wait(patient).return_value == 1
    last = wait(tasks.write_line.enqueue(trace, "last"))
    assert last.status == SUCCESSFUL
    assert sorted(site.project.traces()) == sorted([f"{lost.id} 1", f"{patient.id} 1", "last"])


def test_a_plain_cluster_serves_every_queue_of_every_alias(make_site: Callable[..., Site]) -> None:
    setting = tasks_setting(("default", "mail"))
    reports = tasks_setting(("yearly",))["default"]
    site = make_site({**setting, "reports": reports, "other": {"BACKEND": IMMEDIATE}}, workers=1)
    trace = str(site.project.trace)
    site.start()

    sent = [
        tasks.write_line.enqueue(trace, "default"),
        tasks.write_line.using(queue_name="mail").enqueue(trace, "mail"),
        tasks.write_line.using(backend="reports", queue_name="yearly").enqueue(trace, "yearly"),
    ]

    assert [wait(each).status for each in sent] == [SUCCESSFUL] * 3
    assert [each.backend for each in sent] == ["default", "default", "reports"]
    assert sorted(site.project.traces()) == ["default", "mail", "yearly"]
    plain = site.project.enqueue("tests.sample.tasks.add", 1, 2)
    assert site.project.wait_for_row(plain).result == 3


def test_a_cluster_of_one_queue_serves_that_one(make_site: Callable[..., Site]) -> None:
    site = make_site(tasks_setting(("default", "mail")), workers=1)
    trace = str(site.project.trace)
    waiting = tasks.write_line.enqueue(trace, "default")
    site.start("-n", "mail")

    sent = tasks.write_line.using(queue_name="mail").enqueue(trace, "mail")

    assert wait(sent).status == SUCCESSFUL
    waiting.refresh()
    assert waiting.status == TaskResultStatus.READY


def test_a_worker_goes_on_after_what_would_end_a_program(make_site: Callable[..., Site]) -> None:
    site = make_site(workers=1)
    cluster = site.start()
    worker = cluster.pid_of("worker")

    ends = [wait(tasks.leave.enqueue(kind)) for kind in ("SystemExit", "KeyboardInterrupt")]

    assert [names(each) for each in ends] == [["SystemExit"], ["KeyboardInterrupt"]]
    after = wait(tasks.add.enqueue(1, 2))
    assert after.return_value == 3
    assert cluster.pids("worker") == [worker]
    assert {*after.worker_ids} == {*ends[0].worker_ids}, "a worker has one id as long as its process lives"
    assert str(worker) in after.worker_ids[0]
    assert os.uname().nodename.partition(".")[0][:20] in after.worker_ids[0]
