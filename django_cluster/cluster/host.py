"""What this machine can do: titles, memory, processor affinity, ties to a parent.

The libraries and system calls that may be missing are asked for here, once; everywhere else they are
functions that do their best and never raise.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

PR_SET_PDEATHSIG = 1


def set_title(title: str) -> None:
    """Show ``title`` in the process list, where setproctitle is installed."""
    with suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(title)


def resident_kilobytes() -> int:
    """Resident memory of this process *now* (a peak would condemn a worker for ever); 0 = unknown."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, IndexError, ValueError):
        with suppress(ImportError):
            import psutil

            return int(psutil.Process().memory_info().rss) // 1024
    return 0


def usable_cpus() -> list[int]:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def share_of_cpus(worker: int, per_worker: int, cpus: list[int]) -> list[int]:
    """The processors of worker number ``worker`` (from 0), dealt round-robin; empty = all of them.

    With 4 processors and 2 a worker: [0, 1], [2, 3], [0, 1], … (the table of Django-Q's documentation).
    """
    if per_worker <= 0 or per_worker >= len(cpus):
        return []
    first = worker * per_worker
    return [cpus[(first + step) % len(cpus)] for step in range(per_worker)]


def pin(cpus: Iterable[int]) -> None:
    """Keep this process to ``cpus``, where the system can (Linux; elsewhere psutil may)."""
    chosen = list(cpus)
    if not chosen:
        return
    with suppress(OSError, ImportError, AttributeError, ValueError):
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, chosen)
        else:
            import psutil

            psutil.Process().cpu_affinity(chosen)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send ``number`` when the parent ends (Linux; nothing elsewhere)."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def shared_memory_folder() -> str | None:
    """Where a small shared file never touches a disk; None = the usual temporary folder."""
    folder = "/dev/shm"  # noqa: S108  the kernel's own place for it; we make a private folder inside
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
