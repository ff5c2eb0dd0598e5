"""What this machine can do: titles, memory, processor affinity, ties to a parent.

The libraries and system calls that may be missing are asked for here, once; everywhere else they are
functions that do their best and never raise.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from typing import Any

PR_SET_PDEATHSIG = 1
PR_GET_CHILD_SUBREAPER = 37
MAX_REAPED = 1000
"""Adopted children that are reaped in one turn."""
CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_KILOBYTES = os.sysconf("SC_PAGE_SIZE") // 1024


def set_title(title: str) -> None:
    """Show ``title`` in the process list, where setproctitle is installed.

    The short name beside it is the first word alone. CPython (3.12 and later) looks for the number of threads behind
    that name in ``/proc``, stumbles over its spaces, and warns at a fork of threads that do not exist.
    """
    with suppress(ImportError):
        from setproctitle import setproctitle, setthreadtitle

        setproctitle(title)
        setthreadtitle(title.partition(" ")[0])


def resident_kilobytes(pid: int | None = None) -> int:
    """Resident memory of a process (default: this one) *now*; 0 = unknown.

    Not its peak, which would condemn a worker forever after one big task.
    """
    try:
        with open(f"/proc/{pid or 'self'}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * PAGE_KILOBYTES
    except (OSError, IndexError, ValueError):
        with suppress(Exception):  # not installed, or the process is gone
            import psutil

            return int(psutil.Process(pid).memory_info().rss) // 1024
    return 0


def can_measure_memory() -> bool:
    """Whether this system tells how much memory a process uses: by ``/proc``, or by psutil."""
    return resident_kilobytes() > 0


def can_pin() -> bool:
    """Whether a process can be bound to processors here: by Linux itself, or by psutil, which cannot on macOS."""
    if hasattr(os, "sched_setaffinity"):
        return True
    with suppress(ImportError):
        import psutil

        return hasattr(psutil.Process, "cpu_affinity")
    return False


def oom_kills() -> int:
    """How many processes of our control group the kernel has killed for want of memory; 0 = unknown."""
    with suppress(OSError, StopIteration, IndexError, ValueError):
        with open("/proc/self/cgroup", encoding="ascii") as groups:
            own = next(line.strip()[3:] for line in groups if line.startswith("0::"))
        with open(f"/sys/fs/cgroup{own}/memory.events", encoding="ascii") as events:
            return next(int(line.split()[1]) for line in events if line.startswith("oom_kill "))
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


def pin_to_cpus(cpus: Iterable[int]) -> None:
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


def hangup_ends_program() -> bool:
    """Whether SIGHUP means that the terminal of this program was closed: it has one, and was not told to outlive it.

    ``nohup`` tells it so by ignoring the signal.
    """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return False
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))  # the controlling terminal
        return True
    with suppress(OSError):
        return os.isatty(0)
    return False


def yield_cpu() -> None:
    """Give this processor to a process that waits for it, such as one that was just woken; then go on.

    The kernel often puts it behind us, on the processor that we are about to leave anyway.
    """
    if hasattr(os, "sched_yield"):
        os.sched_yield()


def _find_prctl() -> Callable[..., Any] | None:
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            found: Callable[..., Any] = ctypes.CDLL(None, use_errno=True).prctl
            return found
    return None


_prctl = _find_prctl()
"""Looked for once, and not by each child."""


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send ``number`` when the parent ends (Linux; nothing elsewhere)."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def shared_memory_dir() -> str | None:
    """Where a small shared file never touches a disk; None = the usual temporary folder."""
    folder = "/dev/shm"  # noqa: S108  the kernel's own place for it; we make a runtime directory inside
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def allocate_file(descriptor: int, size: int) -> None:
    """Make a file ``size`` bytes long and have every block of it; raises ``OSError`` where there is no room."""
    try:
        os.posix_fallocate(descriptor, 0, size)
        return
    except AttributeError:  # macOS
        pass
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    zeros, written = bytes(1 << 16), 0
    while written < size:
        written += os.pwrite(descriptor, zeros[: size - written], written)


def adopts_orphans() -> bool:
    """Whether orphans among our descendants become our children: as PID 1 of a container, or as a subreaper."""
    if os.getpid() == 1:
        return True
    if _prctl is None:
        return False
    answer = ctypes.c_int(0)
    return _prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0) == 0 and bool(answer.value)


def reap_adopted(own: Container[int | None]) -> int:
    """Let the kernel forget children that have ended and are not in ``own``; returns how many there were.

    Those in ``own`` were started by code of this process, which will ask for their exit codes: when one of them is
    first in the kernel's list, the rest waits.
    """
    reaped = 0
    with suppress(ChildProcessError):
        while reaped < MAX_REAPED:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid in own:
                break
            os.waitpid(ended.si_pid, os.WNOHANG)
            reaped += 1
    return reaped


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number (0 is none: it would mean our whole group)."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # reused by another user's process: alive in any case
        return True
    return True


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used; 0 = unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()  # the name before may hold anything
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_SECOND
    except (OSError, IndexError, ValueError):
        with suppress(Exception):
            import psutil

            times = psutil.Process(pid).cpu_times()
            return float(times.user + times.system)
    return 0.0


def memory_kilobytes() -> tuple[int, int]:
    """All memory of this machine, and what programs can still have of it; 0 = unknown."""
    try:
        with open("/proc/meminfo", encoding="ascii") as meminfo:
            lines = dict(line.split(":", 1) for line in meminfo)
        return int(lines["MemTotal"].split()[0]), int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        with suppress(Exception):
            import psutil

            memory = psutil.virtual_memory()
            return int(memory.total) // 1024, int(memory.available) // 1024
    return 0, 0
