"""The table of the jobs that a worker runs concurrently: a small shared file, made when the first of them begins.

It belongs to one incarnation, which alone writes to it. The pusher reads after a death which jobs ran, the monitor what
runs now, and a new pusher whose leases have to be renewed. A worker without concurrent jobs has no such file.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from django_cluster.cluster.bootstrap.host import allocate_file
from django_cluster.cluster.ipc.process_row import ScoreboardRow
from django_cluster.core.task_progress import TaskProgress

HEAD = struct.Struct("=QQdddd")
"""Number of the job (written last; 0 = the slot is free), state, started, deadline, and how far it is: done, total."""
STATE_OFFSET, DEADLINE_OFFSET, PROGRESS_OFFSET = 8, 24, 32
INFO_BYTES, RECEIPT_BYTES, MESSAGE_BYTES = 832, 1088, 832
"""Bytes for id, name and function; for the receipt; for the message with which the task says how far it is."""
SLOT_BYTES = HEAD.size + INFO_BYTES + RECEIPT_BYTES + MESSAGE_BYTES
MESSAGE_CHARACTERS = 200


class JobState(IntEnum):
    """What a concurrent job does."""

    FREE = 0
    RUNNING = 1
    FINISHED = 2
    """It has ended, and is not recorded yet: its lease has to be renewed."""
    CANCELLED = 3
    """It runs, and has been told that it is cancelled."""


@dataclass(frozen=True, slots=True)
class RunningJob:
    """What one slot says."""

    number: int
    state: JobState
    started: float
    """``time.monotonic()``."""
    deadline: float
    """``time.monotonic()`` at which it exceeds its timeout; 0 = never."""
    info: tuple[str, ...]
    """Id, name and function of the task."""
    receipt: str = field(repr=False)
    progress: TaskProgress | None = None

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.state is not JobState.FINISHED


class RunningJobs:
    """The slots of one worker. It may be written by several threads of the worker, each slot by one at a time."""

    def __init__(self, path: str | os.PathLike[str], slots: int, *, writable: bool = False) -> None:
        self.slots = slots
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        with open(path, "r+b" if writable else "rb", buffering=0) as file:
            self._memory = mmap.mmap(file.fileno(), slots * SLOT_BYTES, access=access)

    @classmethod
    def create(cls, path: str | os.PathLike[str], slots: int) -> RunningJobs:
        """Create the file. Raises ``OSError`` where there is no room for all of it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            allocate_file(descriptor, slots * SLOT_BYTES)
            return cls(path, slots, writable=True)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)

    def close(self) -> None:
        self._memory.close()

    # ── written by the worker ────────────────────────────────────────────────────────────────────

    def add(self, slot: int, number: int, started: float, deadline: float, receipt: str, *info: str) -> None:
        """Job ``number`` runs in a free slot. ``info``: id, name and function of the task."""
        place = slot * SLOT_BYTES
        HEAD.pack_into(self._memory, place, 0, JobState.RUNNING, started, deadline, -1.0, 0.0)
        self._write(place + HEAD.size, "\n".join(_one_line(each) for each in info), INFO_BYTES)
        self._write(place + HEAD.size + INFO_BYTES, receipt, RECEIPT_BYTES)
        self._memory[place + HEAD.size + INFO_BYTES + RECEIPT_BYTES] = 0
        struct.pack_into("=Q", self._memory, place, number)

    def cancel(self, slot: int, moment: float) -> None:
        """The job in this slot should have ended at ``moment``, because it is cancelled."""
        struct.pack_into("=d", self._memory, slot * SLOT_BYTES + DEADLINE_OFFSET, moment)
        struct.pack_into("=Q", self._memory, slot * SLOT_BYTES + STATE_OFFSET, JobState.CANCELLED)

    def finish(self, slot: int) -> None:
        """The job in this slot has ended."""
        struct.pack_into("=Q", self._memory, slot * SLOT_BYTES + STATE_OFFSET, JobState.FINISHED)

    def free(self, slot: int) -> None:
        """The job in this slot is recorded, or was given back."""
        struct.pack_into("=Q", self._memory, slot * SLOT_BYTES, 0)

    def write_progress(self, slot: int, done: float, total: float, message: str) -> None:
        """How far the job in this slot is; a total of 0 = not known."""
        place = slot * SLOT_BYTES
        struct.pack_into("=dd", self._memory, place + PROGRESS_OFFSET, done, total)
        self._write(place + HEAD.size + INFO_BYTES + RECEIPT_BYTES, message[:MESSAGE_CHARACTERS], MESSAGE_BYTES)

    def _write(self, place: int, text: str, size: int) -> None:
        data = text.encode("utf-8", "replace").replace(b"\0", b" ")[: size - 1]
        self._memory[place : place + len(data) + 1] = data + b"\0"

    # ── read by others ───────────────────────────────────────────────────────────────────────────

    def read(self) -> list[RunningJob]:
        """All jobs that run, or have ended and are not recorded, the oldest first."""
        found = [job for slot in range(self.slots) if (job := self._read_slot(slot)) is not None]
        return sorted(found, key=lambda job: job.number)

    def _read_slot(self, slot: int) -> RunningJob | None:
        place = slot * SLOT_BYTES
        number, state, started, deadline, done, total = HEAD.unpack_from(self._memory, place)
        if not number:
            return None
        info = self._text(place + HEAD.size, INFO_BYTES)
        receipt = self._text(place + HEAD.size + INFO_BYTES, RECEIPT_BYTES)
        message = self._text(place + HEAD.size + INFO_BYTES + RECEIPT_BYTES, MESSAGE_BYTES)
        if HEAD.unpack_from(self._memory, place)[0] != number:  # another by now
            return None
        said = None if done < 0 else TaskProgress(done=done, total=total or None, message=message)
        return RunningJob(number, JobState(state), started, deadline, tuple(info.split("\n")), receipt, said)

    def _text(self, place: int, size: int) -> str:
        return self._memory[place : place + size].partition(b"\0")[0].decode("utf-8", "replace")


def _one_line(text: str) -> str:
    return text.replace("\n", " ")


def running_jobs_file(runtime_dir: Path, incarnation: int) -> str:
    """Where the table of an incarnation is."""
    return os.path.join(runtime_dir, f"jobs-{incarnation}")


class RunningJobsReader:
    """Reads the tables of the workers of one cluster, as long as their rows name them."""

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._tables: dict[int, RunningJobs] = {}

    def read(self, row: ScoreboardRow | None) -> list[RunningJob]:
        """The concurrent jobs of the incarnation that has this row; none where it has no table, or it is gone."""
        if row is None or not row.slots:
            return []
        table = self._tables.get(row.incarnation)
        if table is None:
            try:
                table = RunningJobs(running_jobs_file(self._runtime_dir, row.incarnation), row.slots)
            except (OSError, ValueError):
                return []
            self._tables[row.incarnation] = table
        return table.read()

    def forget(self, incarnation: int, *, remove: bool = False) -> None:
        """The incarnation is dead. ``remove``: delete its file, too."""
        table = self._tables.pop(incarnation, None)
        if table is not None:
            table.close()
        if remove:
            with suppress(OSError):
                os.unlink(running_jobs_file(self._runtime_dir, incarnation))

    def keep(self, incarnations: frozenset[int]) -> None:
        """Forget all but these."""
        for each in set(self._tables) - incarnations:
            self.forget(each)


def stack_file(runtime_dir: Path, incarnation: int, number: int) -> Path:
    """Where the stack of a job is written whose process will perhaps be killed for it."""
    return Path(runtime_dir, f"stack-{incarnation}-{number}")


def take_stack(runtime_dir: Path, incarnation: int, number: int) -> str:
    """What was noted about a job of a dead worker, which is deleted; "" where there is nothing."""
    path = stack_file(runtime_dir, incarnation, number)
    try:
        stack = path.read_text(errors="replace")
        path.unlink()
    except OSError:
        return ""
    return stack
