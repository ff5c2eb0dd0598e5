"""What docs/how-to/deploy.md says of containers and deploys, with real clusters."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import MakeProject
from tests.e2e.project import Project
from tests.e2e.running_cluster import ROOT, RunningCluster
from tests.e2e.test_containers import launch_as_first_process
from tests.e2e.test_stopping import STOPPING

PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text()


def is_ready(project: Project) -> bool:
    """Whether the probe of the page lets a pod count as started."""
    (probe,) = re.findall(r"exec: \{command: (\[.*\])\}", PAGE)
    command = [sys.executable, "-m", "django", *json.loads(probe)[2:]]
    done = subprocess.run(
        command, env=project.environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode == 0


def test_the_probe_knows_a_cluster_of_its_own_host_that_runs(make_project: MakeProject) -> None:
    project = make_project(workers=1, heartbeat_interval=0.2)
    assert not is_ready(project)

    cluster = project.start()
    assert is_ready(project)

    assert cluster.stop() == 0
    assert not is_ready(project)


def test_systemd_hears_when_the_cluster_is_ready_lives_and_stops(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(project.folder / "notify"))
        systemd.settimeout(60)
        cluster = project.start(environment={"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "1000000"})
        seen = {systemd.recv(4096).decode().split("\n")[0] for _ in range(3)}
        assert cluster.stop() == 0
        while "STOPPING=1" not in seen:
            seen.add(systemd.recv(4096).decode().split("\n")[0])

    assert seen == {"READY=1", "WATCHDOG=1", "STOPPING=1"}


def start_script(project: Project) -> Path:
    """The start script of the page, for this Python and the settings of the tests."""
    (script,) = re.findall(r"^  ```sh\n(.*?)^  ```$", PAGE, re.DOTALL | re.MULTILINE)
    file = project.folder / "start.sh"
    file.write_text(re.sub(r"^  ", "", script, flags=re.M).replace("python manage.py", f"{sys.executable} -m django"))
    file.chmod(0o755)
    return file


def test_a_start_script_that_ends_with_exec_leaves_the_signals_to_the_cluster(make_project: MakeProject) -> None:
    project = make_project(workers=1)
    log = project.folder / "log-script"
    cluster = RunningCluster([str(start_script(project)), "--workers", "2"], project.environment(), log, project.name)
    project.clusters.append(cluster)
    cluster.wait_ready()
    task = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(project.folder / "end"))
    project.wait_for_traces(1)

    cluster.signal(signal.SIGTERM)
    cluster.wait_for_log(STOPPING)
    (project.folder / "end").touch()

    assert cluster.wait_for_exit() == 0
    assert project.wait_for_row(task).success


def test_as_first_process_of_a_container_the_cluster_obeys_sigterm(make_project: MakeProject) -> None:
    (command,) = re.findall(r"^CMD (.*)$", PAGE, re.MULTILINE)
    assert json.loads(command)[-1] == "qcluster"
    project = make_project(workers=1)
    cluster = launch_as_first_process(project)
    task = project.enqueue("tests.e2e.tasks.say_and_wait_for", str(project.trace), str(project.folder / "end"))
    project.wait_for_traces(1)

    os.kill(cluster.pid_of("sentinel"), signal.SIGTERM)
    cluster.wait_for_log(STOPPING)
    (project.folder / "end").touch()

    assert cluster.wait_for_exit() == 0
    assert project.wait_for_row(task).success


def test_a_cluster_that_is_restarted_under_load_loses_and_repeats_nothing(make_project: MakeProject) -> None:
    project = make_project(workers=2)
    ids = project.enqueue_many(
        "tests.sample.tasks.touch_and_sleep", [(str(project.trace), 0.02, str(n)) for n in range(300)]
    )

    for done in (50, 150):
        cluster = project.start()
        project.wait_for_traces(done)
        assert cluster.stop() == 0
    project.start()

    assert {row.id for row in project.wait_for_rows(300) if row.success} == set(ids)
    assert sorted(map(int, project.traces())) == list(range(300))
    assert {row.attempt_count for row in project.rows()} == {1}
