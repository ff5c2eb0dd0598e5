"""Clusters in containers: a small ``/dev/shm``, a process number that is always 1, and orphans that are adopted.

Namespaces of the kernel (``unshare``) stand for the container. Where they are not permitted, these tests are skipped.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.project import QCLUSTER, Project
from tests.e2e.running_cluster import RunningCluster

SAMPLE = "tests.sample.tasks"
WORSE = "tests.e2e.tasks"

FULL_SHM = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
"""As in a container that was given 64 kB, or one whose ``/dev/shm`` others have filled."""
FULL_EVERYWHERE = " && ".join(
    [
        FULL_SHM,
        'database=$(dirname "$TEST_DATABASE_NAME")',  # it is below /tmp, and must be seen
        'mount --bind "$database" /mnt',
        "mount -t tmpfs -o size=64k tmpfs /tmp",
        'mkdir -p "$database" "$TMPDIR"',
        'mount --bind /mnt "$database"',
    ]
)
SMALL_SHM = "mount -t tmpfs -o size=16m tmpfs /dev/shm"
FIRST_PROCESS = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """The place of the database: below ``/tmp``, whatever the run has chosen, because ``/dev/shm`` is mounted over."""
    with tempfile.TemporaryDirectory(prefix="dc-", dir="/tmp") as folder:
        yield Path(folder)


@functools.cache
def refusal(*command: str) -> str:
    """Why this cannot be tried here; empty where it can."""
    try:
        done = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        return "unshare is not installed"
    return "" if done.returncode == 0 else done.stderr.strip() or "unshare failed"


def launch(project: Project, *prefix: str, **changes: Any) -> RunningCluster:
    """``qcluster`` behind a command that makes its surroundings."""
    return project.launch(*QCLUSTER, prefix=prefix, **changes)


def launch_with_mounts(project: Project, mounts: str, **changes: Any) -> RunningCluster:
    if reason := refusal("unshare", "--mount"):
        pytest.skip(f"no mount namespace can be made here: {reason}")
    prefix: Sequence[str] = ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")
    return launch(project, *prefix, **changes)


def launch_as_first_process(project: Project, **changes: Any) -> RunningCluster:
    if reason := refusal(*FIRST_PROCESS):
        pytest.skip(f"no namespace of processes can be made here: {reason}")
    return launch(project, *FIRST_PROCESS, **changes).wait_ready()


def stop_first_process(cluster: RunningCluster) -> None:
    os.kill(cluster.pid_of("sentinel"), signal.SIGTERM)
    assert cluster.wait_for_exit() == 0


def test_without_room_in_shared_memory_a_cluster_works_elsewhere(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    cluster = launch_with_mounts(project, FULL_SHM).wait_ready()

    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2
    assert {folder.parent for folder in cluster.private_folders} == {project.folder / "tmp"}


def test_without_room_anywhere_a_cluster_says_so_in_a_sentence_and_ends(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    cluster = launch_with_mounts(project, FULL_EVERYWHERE)

    code = cluster.wait_for_exit()

    assert code == 1
    assert "cannot start: There is no room for the scoreboard" in cluster.logs


def test_a_task_that_fills_shared_memory_kills_no_worker(make_project: MakeProject) -> None:
    project = make_project(workers=2, recycle=5)
    cluster = launch_with_mounts(project, SMALL_SHM).wait_ready()

    project.wait_for_row(project.enqueue(f"{WORSE}.fill", "/dev/shm/filled"))
    ids = project.enqueue_many(f"{SAMPLE}.add", [(n, n) for n in range(50)])

    assert {row.id for row in project.wait_for_rows(51)} >= set(ids)
    assert all(row.success for row in project.rows())
    assert "signal 7" not in cluster.logs


def test_orphans_that_the_first_process_of_a_container_adopts_leave_no_zombies(make_project: MakeProject) -> None:
    project = make_project(workers=1, guard_cycle=0.1)
    cluster = launch_as_first_process(project)
    sentinel = psutil.Process(cluster.pid_of("sentinel"))
    crew = len(sentinel.children())

    ids = project.enqueue_many(f"{WORSE}.leave_orphan", [()] * 20)

    assert {row.id for row in project.wait_for_rows(20) if row.success} == set(ids)
    wait_until(lambda: len(sentinel.children()) == crew, because="the orphans have ended, and should be reaped")
    killed = cluster.kill("worker")
    cluster.wait_for_replacement("worker", killed)
    cluster.wait_for_log("killed by signal 9")  # our own children's exit codes are not taken away
    stop_first_process(cluster)


def test_what_a_killed_first_process_has_left_is_swept_by_the_next(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    first = launch_as_first_process(project)
    (left,) = first.private_folders
    first.kill("sentinel")
    first.wait_until_nobody_is_left()
    assert left.exists()

    second = launch_as_first_process(project)

    assert not left.exists()
    stop_first_process(second)


def test_containers_that_share_their_memory_leave_each_others_folders_alone(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    first = launch_as_first_process(project)
    second = launch_as_first_process(project)

    assert all(folder.exists() for folder in first.private_folders | second.private_folders)
    killed = first.kill("worker")
    first.wait_for_replacement("worker", killed)
    for cluster in (first, second):
        stop_first_process(cluster)


def test_a_cluster_whose_folder_is_removed_makes_it_again_and_loses_nothing(make_project: MakeProject) -> None:
    project = make_project(workers=2, recycle=5)
    cluster = project.start()
    (folder,) = cluster.private_folders

    subprocess.run(["rm", "-rf", str(folder)], check=True)
    cluster.wait_for_log("restored: another program had removed it")
    ids = project.enqueue_many(f"{SAMPLE}.add", [(n, n) for n in range(100)])

    assert {row.id for row in project.wait_for_rows(100) if row.success} == set(ids)
    for role in ("worker", "pusher", "monitor"):
        cluster.wait_for_replacement(role, cluster.kill(role), 2 if role == "worker" else 1)
    assert project.wait_for_row(project.enqueue(f"{SAMPLE}.add", 1, 1)).result == 2
