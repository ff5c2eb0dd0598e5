"""How many CPUs a process may really use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from django_cluster.core.settings.cpus import available_cpus


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that lets us use eight CPUs, and has no control groups yet."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
    return path


def test_without_control_groups_the_affinity_counts(machine: Path) -> None:
    assert available_cpus(machine / "cgroup", machine / "membership") == 8


def test_the_affinity_of_a_process_counts_and_not_the_machine() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("max 100000", 8), ("?", 8)],
)
def test_the_quota_of_a_container_counts(machine: Path, quota: str, expected: int) -> None:
    write(machine / "cgroup/cpu.max", quota)

    assert available_cpus(machine / "cgroup", machine / "membership") == expected


def test_the_tightest_of_nested_groups_counts(machine: Path) -> None:
    membership = write(machine / "membership", "0::/system.slice/web.service\n")
    write(machine / "cgroup/system.slice/cpu.max", "300000 100000")
    write(machine / "cgroup/system.slice/web.service/cpu.max", "max 100000")

    assert available_cpus(machine / "cgroup", membership) == 3


def test_the_files_of_version_one_count(machine: Path) -> None:
    write(machine / "cgroup/cpu/cpu.cfs_quota_us", "400000\n")
    write(machine / "cgroup/cpu/cpu.cfs_period_us", "100000\n")

    assert available_cpus(machine / "cgroup", machine / "membership") == 4


def test_version_one_says_minus_one_for_no_limit(machine: Path) -> None:
    write(machine / "cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(machine / "cgroup/cpu/cpu.cfs_period_us", "100000\n")

    assert available_cpus(machine / "cgroup", machine / "membership") == 8
