"""How far a task is: what it says itself while it runs, and where that goes.

A worker installs the function that takes it. In every other process, in sync mode and in tests, saying it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_NUMBER = 1e18
"""The largest number of done or total; both are kept as 64-bit floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """How far a running task was when it last said so, with ``django_cluster.progress``."""

    done: float
    total: float | None = None
    """None = not known."""
    message: str = ""

    @property
    def share(self) -> float | None:
        """From 0 to 1; None while the total is not known."""
        return None if not self.total else min(1.0, self.done / self.total)


Take = Callable[[float, float, str], object]
"""A function of done, total (0 = not known) and message."""


class ProgressSink:
    """Passes what tasks say on to one function."""

    def __init__(self) -> None:
        self._take: Take | None = None

    def install(self, take: Take | None) -> None:
        """Have ``take`` called with whatever tasks of this process say from now on; None ends it."""
        self._take = take

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the running task is: ``progress(done)`` or ``progress(done, total, "uploading")``.

        Each call replaces what was said before. It costs a microsecond or two, so that a loop may call it each time; it
        is published with the next heartbeat of the cluster (the setting ``heartbeat_interval``). It is known as long as
        the task runs: ``TaskHandle.progress``, the admin and ``qmonitor`` show it. Outside a worker it does nothing.

        ``done``, ``total``: numbers from 0 in whatever unit; a total of None or 0 is unknown. ``message``: a short
        text, of which the first 200 characters are kept. Raises ``TypeError`` for what is no number or no text,
        ``ValueError`` for numbers that are negative, not finite or above 1e18.
        """
        if not isinstance(message, str):
            raise TypeError(f"The message of a progress is a text, not a {type(message).__name__}.")
        said_done, said_total = _number(done), _number(total or 0)
        if self._take is not None:
            self._take(said_done, said_total, message)


def _number(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"A progress is told in numbers, not in a {type(value).__name__}.")
    if not 0 <= value <= MAX_NUMBER:  # NaN is not, either
        raise ValueError("A progress is told in numbers from 0 to 1e18.")
    return float(value)


_sink = ProgressSink()
install_progress_sink = _sink.install
progress = _sink.progress
