"""Who lives, whose child it is, and what it has mapped: read from ``/proc``, or elsewhere from psutil."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from django_cluster.errors import ClusterError

PROC = Path("/proc")
BOARD = "scoreboard"
"""The file in a cluster's private folder that all of its processes map."""


class Being(NamedTuple):
    """A living process."""

    parent: int
    birth: str
    """When it was started; tells it from a later process of the same number."""


def look(pid: int) -> Being | None:
    """None when there is no such process, or only what is left of it until its parent asks."""
    if not PROC.is_dir():
        return _ask_psutil(pid)
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may hold anything, spaces and parentheses included.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Being(int(fields[1]), fields[19])


def _ask_psutil(pid: int) -> Being | None:
    try:
        import psutil
    except ImportError as error:
        raise ClusterError("Without /proc, qchaos needs psutil: pip install 'django-cluster[proc]'") from error
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return Being(process.ppid(), repr(process.create_time()))
    return None


def children_of(pid: int) -> list[int]:
    """Its living children."""
    return [each for each in _everybody() if (being := look(each)) is not None and being.parent == pid]


def family_of(pid: int) -> list[int]:
    """The process and all of its descendants, parents first."""
    family = [pid]
    for each in family:
        family.extend(children_of(each))
    return family


def _everybody() -> list[int]:
    if PROC.is_dir():
        return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    import psutil

    return psutil.pids()


def private_folder_of(pid: int) -> Path | None:
    """The private folder of the cluster that this process belongs to; None where nobody can say."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "maps").read_text(errors="replace").splitlines():
            path = Path(line.partition("/")[2])
            if path.name == BOARD:
                return Path("/") / path.parent
    return None


def is_alive(pid: int, birth: str) -> bool:
    """Whether this very process lives."""
    being = look(pid)
    return being is not None and being.birth == birth


def own_birth() -> str:
    """The mark of this process."""
    being = look(os.getpid())
    return being.birth if being is not None else ""
