"""Whether a process has the resources that its next task may need: descriptors, threads, memory.

A task may leak them. The worker would then fail all later tasks, quickly, and so be assigned most of the queue: it has
to be replaced instead.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import threading

RESERVED_DESCRIPTORS = 16
"""Descriptors that must be free for a task, where the limit allows that many."""
RESERVED_MEMORY_BYTES = 16 << 20
"""Bytes of address space that must be free for a task."""
MAX_LEFTOVER_THREADS = 8
"""Leftover threads of tasks, above which a check starts a thread."""
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class ResourceCheck:
    """Remembers how the process was before its first task."""

    def __init__(self, descriptor: int) -> None:
        """``descriptor``: any open descriptor, which is duplicated by each check."""
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
        """The descriptor that the next file would get; None if there is none."""
        try:
            number = fcntl.fcntl(self._descriptor, fcntl.F_DUPFD_CLOEXEC, 0)
        except OSError as error:
            return None if error.errno in OUT_OF_DESCRIPTORS else 0
        os.close(number)
        return number

    def lacks_memory(self) -> bool:
        """Whether mapping memory fails."""
        try:
            mmap.mmap(-1, RESERVED_MEMORY_BYTES).close()
        except (OSError, MemoryError):
            return True
        return False

    def lacks_threads(self, *, certainly: bool) -> bool:
        """Whether no thread can be started. Tried where tasks have left many behind, or ``certainly``."""
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
        """The name of a missing resource; empty if none is. ``failed``: whether the last task failed."""
        if self.lacks_descriptors():
            return "file descriptors"
        if self.lacks_memory():
            return "memory"
        return "threads" if self.lacks_threads(certainly=failed) else ""


def _do_nothing() -> None:
    pass
