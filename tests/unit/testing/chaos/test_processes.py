"""Who lives, and whose child it is."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_cluster.testing.chaos.processes import (
    children_of,
    is_alive,
    own_start_time,
    private_folder_of,
    process_info,
    process_tree,
)

NOBODY = 2**22 + 1
"""Above the highest process id of any Linux."""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_a_child_is_found_with_its_parent(child: subprocess.Popen[bytes]) -> None:
    being = process_info(child.pid)

    assert being is not None
    assert being.parent == os.getpid()
    assert child.pid in children_of(os.getpid())
    assert process_tree(child.pid) == [child.pid]


def test_nobody_is_nobody() -> None:
    assert process_info(NOBODY) is None
    assert not is_alive(NOBODY, "1")
    assert private_folder_of(NOBODY) is None


def test_a_later_process_of_the_same_number_is_not_the_same(child: subprocess.Popen[bytes]) -> None:
    being = process_info(child.pid)

    assert being is not None
    assert is_alive(child.pid, being.start_time)
    assert not is_alive(child.pid, "another start_time")


def test_the_dead_are_dead_before_their_parent_has_asked(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert process_info(child.pid) is None


def test_a_process_knows_its_own_birth() -> None:
    assert is_alive(os.getpid(), own_start_time())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_private_folder_is_that_of_the_scoreboard(tmp_path: Path) -> None:
    (tmp_path / "scoreboard").write_bytes(b"\0" * 64)
    with (tmp_path / "scoreboard").open("r+b") as file, mmap.mmap(file.fileno(), 64):
        assert private_folder_of(os.getpid()) == tmp_path
