"""What a cluster holds open: the sentinel nothing of anybody's, and nobody more and more."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.running_cluster import RunningCluster

pytestmark = pytest.mark.fresh_start


@pytest.mark.parametrize(("broker", "database"), [("orm", "sqlite"), ("orm", "postgres"), ("redis", "sqlite")])
def test_the_sentinel_has_no_connection_open(make_project: MakeProject, broker: str, database: str) -> None:
    project = make_project(broker, database)
    cluster = project.start()
    project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1))

    sentinel = psutil.Process(cluster.pid)

    assert [file.path for file in sentinel.open_files() if "sqlite" in file.path] == []
    assert [each for each in sentinel.net_connections("all") if each.raddr] == []
    assert sentinel.num_threads() == 1


def test_a_worker_holds_no_copy_of_what_others_have_open(make_project: MakeProject) -> None:
    project = make_project("redis")
    cluster = project.start()
    project.wait_for_row(project.enqueue("tests.sample.tasks.add", 1, 1))

    for pid in cluster.pids("worker"):
        worker = psutil.Process(pid)
        assert worker.net_connections("inet") == []
        assert [file.path for file in worker.open_files() if "sqlite" in file.path] == []


def test_replacing_workers_leaks_nothing(make_project: MakeProject) -> None:
    project = make_project(recycle=1)
    cluster = project.start()
    project.enqueue_many("tests.sample.tasks.nothing", [()] * 4)
    project.wait_for_rows(4)
    wait_until(lambda: len(cluster.pids("worker")) == 2, because="both slots should be filled")
    before = descriptors(cluster)

    project.enqueue_many("tests.sample.tasks.nothing", [()] * 50)

    project.wait_for_rows(54)
    # The two workers may not have called yet when we looked first; a leak would be fifty.
    wait_until(
        lambda: all(now <= then + 2 for now, then in zip(descriptors(cluster), before, strict=True)),
        because=f"nobody should hold more descriptors than {before}, and a line to each worker",
    )
    (private,) = cluster.private_folders
    assert len(list(private.iterdir())) < 20


def descriptors(cluster: RunningCluster) -> list[int]:
    """How many descriptors the lasting processes hold."""
    lasting = [cluster.pid, cluster.pid_of("monitor"), cluster.pid_of("pusher"), cluster.pid_of("scheduler")]
    return [psutil.Process(pid).num_fds() for pid in lasting]


def test_a_stopped_cluster_leaves_no_file(make_project: MakeProject) -> None:
    project = make_project()
    cluster = project.start()
    (private,) = cluster.private_folders
    assert private.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in private.iterdir()} >= {"scoreboard", "pusher", "monitor"}

    cluster.stop()

    assert not private.exists()
    assert list(Path(project.folder, "tmp").iterdir()) == []
