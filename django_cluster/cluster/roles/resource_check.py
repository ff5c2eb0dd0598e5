"""Whether a process can still do what its next task may need: open a file, start a thread, get memory.

A task may keep what it has opened. The worker would then fail every task that comes after it, quickly, and so be
given most of the queue: it has to leave instead.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import threading

RESERVED_DESCRIPTORS = 16
"""Descriptors that a task is to find free, where the limit allows as many."""
RESERVED_MEMORY_BYTES = 16 << 20
"""Bytes of memory that a task is to find free below the limit of the address space."""
MAX_LEFTOVER_THREADS = 8
"""Threads that tasks may leave behind before it is tried whether another one can be started."""
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class ResourceCheck:
    """Remembers how the process was before its first task."""

    def __init__(self, descriptor: int) -> None:
        """``descriptor``: any open one, which is copied for a moment."""
        self._descriptor = descriptor
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._last = limit
        if (lowest := self._lowest_free()) is not None and limit != resource.RLIM_INFINITY:
            self._last = limit - min(RESERVED_DESCRIPTORS, (limit - lowest) // 4)
        self._threads = threading.active_count()

    def lacks_descriptors(self) -> bool:
        """Whether the process has no descriptors, or nearly none, for another task. Costs two system calls."""
        lowest = self._lowest_free()
        return lowest is None or (self._last > 0 and lowest >= self._last)

    def _lowest_free(self) -> int | None:
        """The number that the next file would get; None where it would get none."""
        try:
            number = fcntl.fcntl(self._descriptor, fcntl.F_DUPFD_CLOEXEC, 0)
        except OSError as error:
            return None if error.errno in OUT_OF_DESCRIPTORS else 0
        os.close(number)
        return number

    def lacks_memory(self) -> bool:
        """Whether the system refuses memory that it need not even provide."""
        try:
            mmap.mmap(-1, RESERVED_MEMORY_BYTES).close()
        except (OSError, MemoryError):
            return True
        return False

    def lacks_threads(self, *, certainly: bool) -> bool:
        """Whether no thread can be started; tried where tasks have left many behind, or ``certainly``."""
        if not certainly and threading.active_count() <= self._threads + MAX_LEFTOVER_THREADS:
            return False
        try:
            thread = threading.Thread(target=_do_nothing)
            thread.start()
        except (RuntimeError, MemoryError):
            return True
        thread.join()
        return False

    def shortage(self, *, failed: bool) -> str:
        """What is missing, in a word; nothing if all is there. ``failed``: a task has just failed, perhaps for this."""
        if self.lacks_descriptors():
            return "file descriptors"
        if self.lacks_memory():
            return "memory"
        return "threads" if self.lacks_threads(certainly=failed) else ""


def _do_nothing() -> None:
    pass
