"""The load: small tasks that bear witness of their own execution."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

from django_cluster.testing.chaos.journal import ENDED, STARTED, append_line

LONG_TASK_INTERVAL_SECONDS = 15.0
"""Seconds between two tasks that run for longer than a lease."""
LONG_TASK_LEASES = 1.3
"""How much longer."""
SHORT_TASK_SECONDS = 0.2
"""Seconds of the longest of the others."""


def work(path: str, task: str, seconds: float) -> None:
    """One task: notes that it begins, works for a while, notes that it has ended.

    Two notes, because a run that was cut off must be seen too. A long task is long only once: under fire it
    would else never end, and keep its worker from everything else.
    """
    append_line(path, STARTED, task, os.getpid(), time.monotonic())
    time.sleep(seconds if seconds <= SHORT_TASK_SECONDS or _is_first(path, task) else 0.0)
    append_line(path, ENDED, task, os.getpid(), time.monotonic())


def _is_first(path: str, task: str) -> bool:
    """Whether this is the first run of the task, as far as a file beside the journal tells."""
    try:
        os.close(os.open(f"{path}.{task}", os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def durations(seed: int, rate: float, lease: float) -> Iterator[float]:
    """For ever: how long each task works. Most are quick, some take a moment, and a few outlast a lease."""
    rng = random.Random(seed)  # noqa: S311  repeatable by its seed, not a secret
    between = max(1, round(rate * LONG_TASK_INTERVAL_SECONDS))
    number = 0
    while True:
        if number % between == between // 4:
            yield lease * LONG_TASK_LEASES
        else:
            yield rng.uniform(0.0, 0.005) if rng.random() < 0.9 else rng.uniform(0.01, SHORT_TASK_SECONDS)
        number += 1
