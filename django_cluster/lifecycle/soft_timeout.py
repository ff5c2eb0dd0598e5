"""The soft time limit: an exception inside the task, by SIGALRM."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from django_cluster.errors import LONGEST_DURATION, TaskTimeout

SHORTEST_TIMER_SECONDS = 1e-6
"""Seconds; what a timer is set to that should have gone off already (0 would switch it off)."""


@contextmanager
def soft_timeout(seconds: float | None) -> Iterator[None]:
    """Raise ``TaskTimeout`` in the body when it runs longer than ``seconds`` (None = no limit).

    Signals reach only the main thread, and only platforms that have SIGALRM: elsewhere the hard limit,
    which the sentinel enforces, stands alone. The handler and a timer of the surrounding code, which
    sync mode may run in, are restored.
    """
    if seconds is None or not hasattr(signal, "setitimer") or not _in_main_thread():
        yield
        return

    def overrun(_number: int, _frame: FrameType | None) -> None:
        raise TaskTimeout(f"The task ran longer than its limit of {seconds:g} seconds.")

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, overrun)
    left, interval = signal.setitimer(signal.ITIMER_REAL, min(seconds, LONGEST_DURATION))
    try:
        yield
    finally:
        # In this order, or an alarm of the surrounding code could be taken for ours.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)  # None: set by a C program
        if left:
            signal.setitimer(
                signal.ITIMER_REAL, max(left - (time.monotonic() - began), SHORTEST_TIMER_SECONDS), interval
            )


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
