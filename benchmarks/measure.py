"""What the machine says of processes and of itself: /proc, and the time that a fixed loop takes."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK = 1 / os.sysconf("SC_CLK_TCK")

LOOP_ROUNDS = 100_000
LOOP_TRIES = 15
FSYNC_TRIES = 40

GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


# ── processes ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Stat:
    """A process, as /proc/<pid>/stat tells it."""

    pid: int
    parent: int
    session: int
    cpu: float
    """Seconds, in user and kernel mode, with those of its children that have ended."""


def parse_stat(text: str) -> Stat:
    """The name in parentheses may hold anything, parentheses and spaces too."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Stat(
        pid=int(head.split(" ", 1)[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu=sum(int(ticks) for ticks in fields[11:15]) * TICK,
    )


def processes() -> Iterator[Stat]:
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(*GONE):
                yield parse_stat((folder / "stat").read_text())


def in_sessions(sessions: Iterable[int]) -> list[Stat]:
    """Everybody who belongs to these sessions: a process can leave its parent and its group, but not that."""
    wanted = set(sessions)
    return [each for each in processes() if each.session in wanted]


def cpu_seconds(sessions: Iterable[int]) -> float:
    return sum(each.cpu for each in in_sessions(sessions))


def pss_megabytes(sessions: Iterable[int]) -> float:
    """Memory, with what is shared counted once."""
    return sum(pss_of(each.pid) for each in in_sessions(sessions))


def pss_of(pid: int) -> float:
    with suppress(*GONE):
        return parse_pss((PROC / str(pid) / "smaps_rollup").read_text()) / 1024
    return 0.0


def parse_pss(text: str) -> int:
    """Kilobytes."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def title_of(pid: int) -> str:
    with suppress(*GONE):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


# ── the machine ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Noise:
    """How much the machine belongs to us at the moment."""

    loop_ms: float
    """A fixed loop on all processors at once; the median of some."""
    load: float
    """Processes that want to run, as a mean of the last minute."""


def noise() -> Noise:
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        found = pool.map(_timed_loops, range(os.cpu_count() or 1))
    return Noise(loop_ms=max(found) * 1000, load=os.getloadavg()[0])


def _timed_loops(_number: int) -> float:
    return statistics.median(_timed_loop() for _ in range(LOOP_TRIES))


def _timed_loop() -> float:
    began = time.perf_counter()
    total = 0
    for number in range(LOOP_ROUNDS):
        total += number
    return time.perf_counter() - began


def fsync_ms() -> float:
    """What one small durable write costs: the floor of every commit."""
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        times = []
        for _ in range(FSYNC_TRIES):
            began = time.perf_counter()
            file.write(b"." * 8192)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def machine() -> dict[str, str]:
    """For the head of a report."""
    return {
        "processor": f"{os.cpu_count()} × {_field(PROC / 'cpuinfo', 'model name')}",
        "memory": f"{int(_field(PROC / 'meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "system": f"Linux {platform.release()}",
        "python": platform.python_version(),
    }


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "?"
