"""The last log lines of a worker, in memory that outlives it: a killed process can no longer say what it logged."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

from django_cluster.cluster.bootstrap.host import allocate_file

SIZE = 64 << 10
"""Bytes of the ring. The first eight hold how many bytes have been written in all."""
HEAD = 8
ROOM = SIZE - HEAD


def ring_file(runtime_dir: Path, incarnation: int) -> Path:
    """Where the worker of this incarnation keeps its lines."""
    return runtime_dir / f"log-{incarnation}"


class LogRing:
    """Written by one process. Allocated as a whole, because writing into a hole of a full file system kills."""

    def __init__(self, file: Path) -> None:
        """Raises ``OSError`` where there is no room."""
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            allocate_file(descriptor, SIZE)
            self._memory = mmap.mmap(descriptor, SIZE)
        except (OSError, ValueError):
            file.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        self._written = 0

    def add(self, task_id: str, line: str) -> None:
        """Keep a line of a task; the oldest ones make room."""
        data = f"{task_id} {line}\0".encode("utf-8", "replace")[:ROOM]
        start = self._written % ROOM
        first = data[: ROOM - start]
        self._memory[HEAD + start : HEAD + start + len(first)] = first
        if rest := data[len(first) :]:
            self._memory[HEAD : HEAD + len(rest)] = rest
        self._written += len(data)
        self._memory[:HEAD] = self._written.to_bytes(HEAD, "little")


def take_lines(file: Path) -> list[tuple[str, str]]:
    """Task id and line of all that is kept, the newest last; the file is deleted. Empty if there is none."""
    data = b""
    with suppress(OSError):
        data = file.read_bytes()
        file.unlink()
    if len(data) != SIZE:
        return []
    written, ring = int.from_bytes(data[:HEAD], "little"), data[HEAD:]
    start = written % ROOM
    kept = ring[start:] + ring[:start] if written > ROOM else ring[:start]
    lines = kept.decode("utf-8", "replace").split("\0")[:-1]
    whole = lines[1:] if written > ROOM else lines  # the oldest is cut
    return [(task_id, line) for task_id, _, line in (each.partition(" ") for each in whole)]
