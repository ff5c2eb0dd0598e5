"""How many CPUs this process may really use: the machine's, less what affinity and containers take away."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """At least 1. A container limited to two CPUs of a machine with 64 has two."""
    allowed = _affinity()
    quota = _quota(cgroups, membership)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def _affinity() -> int:
    """The CPUs this process may be scheduled on; where the system cannot say, all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(cgroups: Path, membership: Path) -> float | None:
    """The tightest CPU quota among the groups that this process is in; None without one."""
    quotas = [*_quotas_v2(cgroups, membership), *_quota_v1(cgroups)]
    return min(quotas, default=None)


def _quotas_v2(cgroups: Path, membership: Path) -> list[float]:
    """Control groups version 2: ``cpu.max`` holds "quota period", in each group up to the root."""
    group = _read(membership).strip().partition("0::")[2].partition("\n")[0].strip("/")
    levels = [cgroups.joinpath(*parts) for parts in _prefixes(group)]
    return [quota for level in levels if (quota := _ratio(_read(level / "cpu.max").split())) is not None]


def _quota_v1(cgroups: Path) -> list[float]:
    """Version 1: two files, in the group that a container sees as its root."""
    folder = cgroups / "cpu"
    fields = [_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()]
    quota = _ratio(fields)
    return [] if quota is None else [quota]


def _prefixes(group: str) -> list[list[str]]:
    parts = [part for part in group.split("/") if part not in ("", "..")]
    return [parts[:depth] for depth in range(len(parts) + 1)]


def _ratio(fields: list[str]) -> float | None:
    """CPUs of a quota and its period; "max" and -1 mean that there is no limit."""
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or "0" in fields:
        return None
    return int(fields[0]) / int(fields[1])


def _read(path: Path) -> str:
    """The content of the file; empty if it does not exist or may not be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
