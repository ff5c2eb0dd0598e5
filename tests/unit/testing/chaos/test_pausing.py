"""A server that hangs for a while."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from django_cluster.errors import ClusterError
from django_cluster.testing.chaos.pausing import Pausing
from tests.conftest import wait_until


@pytest.fixture
def server() -> Iterator[psutil.Process]:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield psutil.Process(process.pid)
    process.kill()
    process.communicate()


def test_a_process_is_paused_and_goes_on(server: psutil.Process) -> None:
    holder = Pausing(pid=server.pid).pause_for(0.2)

    wait_until(lambda: server.status() == psutil.STATUS_STOPPED, because="it should be paused")
    holder.wait()
    assert server.status() != psutil.STATUS_STOPPED


def test_commands_are_run_one_after_the_other(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    Pausing(pause_command=f"echo pause >> {trace}", resume_command=f"echo resume >> {trace}").pause_for(0.01).wait()

    assert trace.read_text().split() == ["pause", "resume"]


@pytest.mark.parametrize(
    ("pausing", "complaint"),
    [
        (Pausing(pause_command="true"), "belong together"),
        (Pausing(resume_command="true"), "belong together"),
        (Pausing(pid=1, pause_command="true", resume_command="true"), "either"),
        (Pausing(pid=2**22 + 1), "no process"),
    ],
)
def test_what_cannot_work_is_refused(pausing: Pausing, complaint: str) -> None:
    with pytest.raises(ClusterError, match=complaint):
        pausing.check()


def test_without_a_wish_nothing_is_paused() -> None:
    Pausing().check()

    assert not Pausing().possible
