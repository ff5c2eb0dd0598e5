"""Timing of a piece of work: wall-clock time and CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds for each task."""

    wall: float
    cpu: float

    @property
    def per_second(self) -> float:
        return 1e6 / self.wall


class Step(NamedTuple):
    """One step of a task's life, and what it costs for one task."""

    process: str
    what: str
    wall_us: float
    cpu_us: float


def time_each(work: Callable[[T], Any], inputs: Iterable[T], each: int = 1) -> Timing:
    """Do the work once for each input, which is worth ``each`` tasks."""
    prepared = list(inputs)
    began, cpu = time.perf_counter(), time.process_time()
    for value in prepared:
        work(value)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = len(prepared) * each
    return Timing(wall / count * 1e6, cpu / count * 1e6)


def time_for(seconds: float, work: Callable[[], Any], each: int = 1) -> tuple[Timing, int]:
    """Do the same again and again for so long; returns how many tasks that were, too."""
    work()  # the first time is about connections and caches
    count = 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() < began + seconds:
        work()
        count += each
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Timing(wall / count * 1e6, cpu / count * 1e6), count
