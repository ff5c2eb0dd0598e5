"""Ends a process whose sentinel is dead, even if it hangs where no signal handler can run.

The kernel sends a signal when the parent dies, but Python's handlers run only when the main thread returns from a call
in C, which a wait for a silent server does not. So a thread also checks who the parent is.
"""

from __future__ import annotations

import os
import threading
import time

CHECK_SECONDS = 1.0
"""Seconds between two checks."""
EXIT_CODE = 1
"""The exit code of such a process."""


def exit_when_orphaned(seconds: float) -> None:
    """From now on, this process ends ``seconds`` after its parent, ``CHECK_SECONDS`` more at most."""
    parent = os.getppid()
    threading.Thread(target=_watch, args=[parent, seconds], name="orphan", daemon=True).start()


def _watch(parent: int, seconds: float) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_SECONDS)
    time.sleep(seconds)
    os._exit(EXIT_CODE)
