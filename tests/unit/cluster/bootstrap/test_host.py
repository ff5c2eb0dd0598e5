"""What this machine can do, and what it is asked for without ever raising."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cluster.cluster.bootstrap.host import (
    allocate_file,
    pin_to_cpus,
    resident_kilobytes,
    set_title,
    share_of_cpus,
    shared_memory_dir,
    usable_cpus,
)


@pytest.mark.parametrize(
    ("per_worker", "shares"),
    [
        (1, [[0], [1], [2], [3], [0], [1]]),
        (2, [[0, 1], [2, 3], [0, 1], [2, 3], [0, 1], [2, 3]]),
        (3, [[0, 1, 2], [3, 0, 1], [2, 3, 0], [1, 2, 3], [0, 1, 2], [3, 0, 1]]),
        (4, [[]] * 6),
        (5, [[]] * 6),
        (0, [[]] * 6),
    ],
)
def test_processors_are_dealt_as_the_table_says(per_worker: int, shares: list[list[int]]) -> None:
    assert [share_of_cpus(worker, per_worker, [0, 1, 2, 3]) for worker in range(6)] == shares


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(0, 20), st.sets(st.integers(0, 64), min_size=1))
def test_a_share_holds_usable_processors_and_none_twice(worker: int, per_worker: int, cpus: set[int]) -> None:
    share = share_of_cpus(worker, per_worker, sorted(cpus))

    assert set(share) <= cpus
    assert len(set(share)) == len(share)
    assert len(share) in (0, per_worker)


def test_a_process_may_run_somewhere() -> None:
    assert usable_cpus()


def test_memory_is_measured_now_and_in_kilobytes() -> None:
    before = resident_kilobytes()
    ballast = bytearray(os.urandom(1024) * 1024 * 64)
    during = resident_kilobytes()

    assert 1_000 < before < 10_000_000
    assert during - before > 0.8 * len(ballast) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where a process may run")
def test_a_process_that_is_pinned_to_where_it_may_run_stays_there() -> None:
    before = usable_cpus()

    pin_to_cpus(before)
    pin_to_cpus([])
    pin_to_cpus([9999])

    assert usable_cpus() == before


def test_a_title_may_always_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", None)

    set_title("qcluster tests")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the short name of a process")
def test_the_short_name_of_a_process_is_one_word() -> None:
    code = "from django_cluster.cluster.bootstrap.host import set_title; set_title('qcluster a b worker 1')"
    show = "print(*(open(f'/proc/self/{name}').read().strip('\\0\\n') for name in ('comm', 'cmdline')), sep='|')"

    done = subprocess.run([sys.executable, "-c", f"{code}; {show}"], capture_output=True, text=True, check=True)

    assert done.stdout.rstrip("\n\0") == "qcluster|qcluster a b worker 1"


def test_the_folder_for_shared_memory_is_one() -> None:
    folder = shared_memory_dir()

    assert folder is None or Path(folder).is_dir()


def test_the_space_of_a_file_is_claimed_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        allocate_file(file.fileno(), 100_000)

    assert path.stat().st_size == 100_000
    assert path.stat().st_blocks * 512 >= 100_000


def test_only_children_that_nobody_has_started_are_reaped() -> None:
    """In a process of its own, whose every child is seen."""
    program = """
import os, subprocess, sys, time
from django_cluster.cluster.bootstrap.host import reap_adopted
own = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
assert reap_adopted([own.pid]) == 0
assert own.wait() == 7
adopted = os.fork() or os._exit(0)
os.waitid(os.P_PID, adopted, os.WEXITED | os.WNOWAIT)
assert reap_adopted([]) == 1
assert reap_adopted([]) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
