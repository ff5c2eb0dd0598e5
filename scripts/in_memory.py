"""A folder in memory for the files of a test run: what waits for a disk in tests says nothing about the code."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that have to be free: each of several workers of pytest has its databases there, and RAM is used for them."""


@contextmanager
def temporary_files_in_memory() -> Iterator[dict[str, str]]:
    """The variables of a run whose temporary files are in memory; none where the machine has no room for them there.

    A kill spares what was written without ``fsync``, so no test can tell the difference; each ``fsync`` of a disk is
    milliseconds, of which a test that starts a cluster waits for hundreds.
    """
    if not fits():
        yield {}
        return
    folder = tempfile.mkdtemp(prefix="dc-", dir=MEMORY)
    try:
        Path(folder).chmod(0o1777)  # servers run as users of their own
        yield {"TMPDIR": folder}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fits() -> bool:
    """Whether there is room in memory, in a place from which programs may be run, too; a user's own choice counts."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return False
    room = os.statvfs(MEMORY)
    free_memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    runs_programs = not room.f_flag & os.ST_NOEXEC
    return runs_programs and min(room.f_bavail * room.f_frsize, free_memory) >= ROOM
