"""``qcluster --reload --with-runserver``: one terminal in which changed code runs."""

from __future__ import annotations

import os
import signal
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from django_cluster.cluster.supervisor.sentinel import ExitCode
from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.e2e.project import QCLUSTER
from tests.e2e.running_cluster import PATIENCE, ROOT, RunningCluster
from tests.servers.base import free_port

pytestmark = pytest.mark.fresh_start

SETTINGS = """
from tests.django_settings import *

DEBUG = True
INSTALLED_APPS = [*INSTALLED_APPS, "changing"]
"""
ANSWERS = "def answer():\n    return {answer}\n"


def write(file: Path, text: str) -> None:
    """Write as an editor does that is quicker than the resolution of the file system: the time of change grows."""
    before = file.stat().st_mtime if file.exists() else 0.0
    file.write_text(text)
    os.utime(file, (max(file.stat().st_mtime, before + 1),) * 2)


def wait_for_log_again(cluster: RunningCluster, text: str, times: int) -> None:
    wait_until(lambda: cluster.logs.count(text) >= times, 3 * PATIENCE, f"the log should say {text!r} {times} times")


def serves(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection, suppress(OSError):
        connection.request("GET", "/admin/login/")
        with connection.getresponse() as response:
            return response.status == 200
    return False


def test_changed_code_runs_an_error_waits_for_its_correction_and_the_server_ends_with_the_cluster(
    make_project: MakeProject,
) -> None:
    project = make_project(workers=1)
    app, port = project.folder / "changing", free_port()
    app.mkdir()
    write(project.folder / "changing_settings.py", SETTINGS)
    write(app / "__init__.py", "")
    write(app / "tasks.py", ANSWERS.format(answer=1))
    cluster = project.launch(
        *(*QCLUSTER, "--reload", "--with-runserver", f"127.0.0.1:{port}"),
        environment={"PYTHONPATH": f"{ROOT}:{project.folder}", "DJANGO_SETTINGS_MODULE": "changing_settings"},
    )
    cluster.may_crash = True  # what a syntax error prints is a traceback
    wait_for_log_again(cluster, "is running", 1)

    first = project.wait_for_row(project.enqueue("changing.tasks.answer"))
    write(app / "tasks.py", ANSWERS.format(answer=2))  # imported by the worker alone
    wait_for_log_again(cluster, "is running", 2)
    second = project.wait_for_row(project.enqueue("changing.tasks.answer"))
    wait_until(lambda: serves(port), PATIENCE, "the development server should answer")
    write(app / "__init__.py", "this is no Python")
    cluster.wait_for_log("waiting for a changed file", 3 * PATIENCE)
    write(app / "__init__.py", "")
    wait_for_log_again(cluster, "is running", 3)

    assert (first.result, second.result) == (1, 2)
    assert "SyntaxError" in cluster.logs
    assert cluster.stop(signal.SIGINT) == ExitCode.GRACEFUL
    assert not serves(port)
