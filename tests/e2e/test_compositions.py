"""Chains, groups and iters in whole clusters, whose monitors die at every step of handing on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from django_cluster.composition import Group, async_chain, async_iter, call
from django_cluster.core.compositions import TaskCall
from django_cluster.models import Task
from tests.conftest import wait_until
from tests.e2e.brokers import on_both_brokers
from tests.e2e.conftest import MakeProject
from tests.e2e.crashing_brokers import FOLDER, POINT, REDIS, WHOLE
from tests.e2e.project import Project
from tests.e2e.running_cluster import PATIENCE, RunningCluster
from tests.sample import tasks

CLASSES = {"orm": "tests.e2e.crashing_brokers.DeadlyOrm", "redis": "tests.e2e.crashing_brokers.DeadlyRedis"}
LINKS = 5


MakeDeadly = Callable[..., Project]


@pytest.fixture(params=["orm", "redis"])
def make_deadly(
    request: pytest.FixtureRequest, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> MakeDeadly:
    """Makes a project with one worker and a deadly broker."""
    if request.param == "redis":
        monkeypatch.setenv(REDIS, request.getfixturevalue("redis_server").url)
    return lambda **settings: make_project(broker_class=CLASSES[request.param], workers=1, **settings)


def start_deadly(project: Project, point: str, *, whole: bool = False) -> RunningCluster:
    """A cluster whose monitor dies at this point, again and again; or with all others, once."""
    environment = {POINT: point, FOLDER: str(project.folder), **({WHOLE: "1"} if whole else {})}
    return project.start(environment=environment)


def touching(project: Project, text: str) -> TaskCall:
    return call(tasks.touch, str(project.trace), text)


def send_all(project: Project) -> str:
    """A chain, a group with something that follows, and an iter; returns the id of the last."""
    async_chain([touching(project, f"link {n}") for n in range(LINKS)])
    group = Group([touching(project, f"call {n}") for n in range(4)])
    group.on_success(tasks.touch, str(project.trace), "then").on_failure(
        tasks.touch, str(project.trace), "failure"
    ).run()
    return async_iter(tasks.add, [(n, n) for n in range(4)])


def everything() -> list[str]:
    return sorted([f"link {n}" for n in range(LINKS)] + [f"call {n}" for n in range(4)] + ["then"])


def wait_for_all(project: Project, iter_id: str) -> list[str]:
    """What was done, as soon as all of it was."""
    wait_until(lambda: set(project.traces()) >= set(everything()), PATIENCE, "all of it should have been done")
    assert project.wait_for_row(iter_id).result == [0, 2, 4, 6]
    rows = LINKS + 4 + 1 + 1
    wait_until(lambda: project.count() >= rows, PATIENCE, "each task should have a row")
    assert project.count() == rows
    return project.traces()


@pytest.mark.parametrize("point", ["before enqueue", "after enqueue", "before acknowledge", "after acknowledge"])
def test_a_monitor_that_dies_while_handing_on_neither_loses_nor_repeats_anything(
    make_deadly: MakeDeadly, point: str
) -> None:
    project = make_deadly(retry=5)
    start_deadly(project, point)

    iter_id = send_all(project)

    done = wait_for_all(project, iter_id)
    deaths = (len((project.folder / "calls").read_text()) + 1) // 2
    assert deaths >= 2
    assert sorted(done) == everything()
    assert [each for each in done if each.startswith("link")] == [f"link {n}" for n in range(LINKS)]
    assert done.index("then") > max(done.index(f"call {n}") for n in range(4))


@pytest.mark.parametrize("point", ["before enqueue", "after enqueue"])
def test_a_machine_that_dies_while_handing_on_leaves_a_chain_that_another_goes_on_with(
    make_deadly: MakeDeadly, point: str
) -> None:
    project = make_deadly(retry=2)
    doomed = start_deadly(project, point, whole=True)
    async_chain([touching(project, f"link {n}") for n in range(LINKS)])
    doomed.process.wait(PATIENCE)

    project.start()

    wait_until(lambda: project.count() == LINKS, PATIENCE, "the chain should have come to its end")
    done = project.traces()
    assert sorted(set(done), key=done.index) == [f"link {n}" for n in range(LINKS)]
    if REDIS in os.environ:
        assert done.count("link 0") == 1  # it was noted as done before the machine died


@on_both_brokers
def test_a_chain_goes_from_queue_to_queue(make_project: MakeProject, broker: str) -> None:
    project = make_project(broker, workers=1)
    project.start()
    project.start("-n", "other")

    group = async_chain([(tasks.echo, (n,), {"queue": "other" if n % 2 else None}) for n in range(4)])

    wait_until(lambda: project.count() == 4, PATIENCE, "all links should have run")
    rows = sorted(Task.objects.filter(group=group), key=lambda task: task.args)
    assert [row.queue == "other" for row in rows] == [False, True, False, True]


def test_two_clusters_work_on_one_large_iter(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project("redis", "postgres", workers=2)
    project.start()
    project.start()
    hook = tmp_path / "hook"

    iter_id = async_iter(tasks.add, [(n, 1) for n in range(2000)])
    Group([call(tasks.nothing) for _ in range(200)]).on_success(tasks.touch, str(hook), "once").run()

    assert project.wait_for_row(iter_id).result == list(range(1, 2001))
    wait_until(hook.exists, PATIENCE, "what follows the group should run")
    wait_until(lambda: project.count() == 202, PATIENCE, "all should have ended")
    assert hook.read_text() == "once\n"
