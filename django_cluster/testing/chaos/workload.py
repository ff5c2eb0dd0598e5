"""The load: small tasks that record their own execution."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

from django_cluster.testing.chaos.journal import ENDED, STARTED, append_line

LONG_TASK_INTERVAL_SECONDS = 15.0
"""Seconds between two tasks that run for longer than a lease."""
LONG_TASK_LEASES = 1.3
"""Duration of a long task, in leases."""
SHORT_TASK_SECONDS = 0.2
"""Longest duration of the other tasks, in seconds."""


def work(path: str, task: str, seconds: float) -> None:
    """Record the start in a journal, sleep for ``seconds``, record the end.

    Start and end are separate lines, so that runs that were cut off are seen. Only the first run of a long task is
    long: otherwise it might never end while workers are killed.
    """
    append_line(path, STARTED, task, os.getpid(), time.monotonic())
    time.sleep(seconds if seconds <= SHORT_TASK_SECONDS or _is_first(path, task) else 0.0)
    append_line(path, ENDED, task, os.getpid(), time.monotonic())


def _is_first(path: str, task: str) -> bool:
    """Whether this is the first run of the task, by an empty file beside the journal."""
    try:
        os.close(os.open(f"{path}.{task}", os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def durations(seed: int, rate: float, lease: float) -> Iterator[float]:
    """An endless sequence of task durations in seconds: most are short, and one in 15 s is longer than a lease."""
    rng = random.Random(seed)  # noqa: S311  repeatable by its seed, not a secret
    between = max(1, round(rate * LONG_TASK_INTERVAL_SECONDS))
    number = 0
    while True:
        if number % between == between // 4:
            yield lease * LONG_TASK_LEASES
        else:
            yield rng.uniform(0.0, 0.005) if rng.random() < 0.9 else rng.uniform(0.01, SHORT_TASK_SECONDS)
        number += 1
