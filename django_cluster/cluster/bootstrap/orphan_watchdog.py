"""An end to orphans: a process of the crew whose sentinel is dead, and which hangs where no signal handler can run.

The kernel tells an orphan by a signal, but Python's handlers wait until the main thread is back from a call in C. One
that waits for a silent server does not. So a thread looks as well who the parent is.
"""

from __future__ import annotations

import os
import threading
import time

CHECK_SECONDS = 1.0
"""Seconds between two looks."""
EXIT_CODE = 1
"""The exit code."""


def exit_when_orphaned(seconds: float) -> None:
    """From now on, this process ends at most ``seconds`` after its parent, give or take a look."""
    parent = os.getppid()
    threading.Thread(target=_watch, args=[parent, seconds], name="orphan", daemon=True).start()


def _watch(parent: int, seconds: float) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_SECONDS)
    time.sleep(seconds)
    os._exit(EXIT_CODE)
