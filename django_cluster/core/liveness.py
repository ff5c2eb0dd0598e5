"""The sign of life of a process that works for long: code at any depth reports progress, and knows no scoreboard.

A child of a cluster installs a reporter when it starts. In every other process, reporting does nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Liveness:
    """Passes reports of progress on to one function, for the thread that has installed it."""

    def __init__(self) -> None:
        self._reporter: Callable[[float], object] | None = None
        self._thread = 0

    def install(self, reporter: Callable[[float], object] | None) -> None:
        """Report to ``reporter(allowance)`` from now on, and from the calling thread only; None ends reporting."""
        self._reporter, self._thread = reporter, threading.get_ident()

    def report(self, allowance: float = 0.0) -> None:
        """Say that this process makes progress; called between the steps of anything that takes long.

        ``allowance``: seconds that the next step may take in addition to the usual limit. Ignored in other threads:
        a background thread that runs does not prove that the main one does.
        """
        if self._reporter is not None and threading.get_ident() == self._thread:
            self._reporter(allowance)


_liveness = Liveness()
install_reporter = _liveness.install
report_progress = _liveness.report
