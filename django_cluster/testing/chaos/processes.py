"""Process table: parents, children and mapped files, read from ``/proc`` or by psutil."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from django_cluster.errors import ClusterError

PROC = Path("/proc")
BOARD = "scoreboard"
"""The file in a cluster's runtime directory that all of its processes map."""


class ProcessInfo(NamedTuple):
    """A live process."""

    parent: int
    start_time: str
    """Start time as the kernel gives it; distinguishes processes that had the same pid."""


def process_info(pid: int) -> ProcessInfo | None:
    """A live process; None if it does not exist or is a zombie."""
    if not PROC.is_dir():
        return _ask_psutil(pid)
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may hold anything, spaces and parentheses included.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else ProcessInfo(int(fields[1]), fields[19])


def _ask_psutil(pid: int) -> ProcessInfo | None:
    try:
        import psutil
    except ImportError as error:
        raise ClusterError("Without /proc, qchaos needs psutil: pip install 'django-cluster[proc]'") from error
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return ProcessInfo(process.ppid(), repr(process.create_time()))
    return None


def children_of(pid: int) -> list[int]:
    """The pids of the live children of a process."""
    return [each for each in _all_pids() if (info := process_info(each)) is not None and info.parent == pid]


def process_tree(pid: int) -> list[int]:
    """The process and all of its descendants, parents first."""
    family = [pid]
    for each in family:
        family.extend(children_of(each))
    return family


def _all_pids() -> list[int]:
    if PROC.is_dir():
        return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    import psutil

    return psutil.pids()


def private_folder_of(pid: int) -> Path | None:
    """The runtime directory of the cluster that a process belongs to; None if unknown."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "maps").read_text(errors="replace").splitlines():
            path = Path(line.partition("/")[2])
            if path.name == BOARD:
                return Path("/") / path.parent
    return None


def is_alive(pid: int, start_time: str) -> bool:
    """Whether the process with this pid and this start time is alive."""
    info = process_info(pid)
    return info is not None and info.start_time == start_time


def own_start_time() -> str:
    """The start time of the current process."""
    info = process_info(os.getpid())
    return info.start_time if info is not None else ""
