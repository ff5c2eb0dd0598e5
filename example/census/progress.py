"""How far the work is: a bar that moves on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

WIDTH = 30
LOG_SECONDS = 3.0
"""Between two lines where there is no terminal."""


class Progress:
    """Shows how many of ``total`` are done, and how many a second since it was made."""

    def __init__(self, out: TextIO, total: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._total = total
        self._before = self._done = done
        self._clock = clock
        self._began = clock()
        self._shown_at = self._began

    def show(self, done: int) -> None:
        """To be called often; it decides itself when there is something to say."""
        self._done = done
        if self._out.isatty():
            self._out.write(f"\r{self._bar()}  ")  # covers what a shorter line leaves
            self._out.flush()
        elif self._clock() - self._shown_at >= LOG_SECONDS:
            self._shown_at = self._clock()
            self._out.write(f"{self._bar()}\n")
            self._out.flush()

    def end(self) -> str:
        """Leaves the bar as it is; returns what was done since the beginning, as a sentence."""
        if self._out.isatty():
            self._out.write("\n")
        seconds = self._clock() - self._began
        return f"{self._done - self._before:,} tasks in {seconds:.1f} seconds: {self._rate():.0f} tasks a second."

    def _rate(self) -> float:
        return (self._done - self._before) / max(self._clock() - self._began, 0.001)

    def _bar(self) -> str:
        share = self._done / self._total if self._total else 1.0
        bar = ("#" * int(WIDTH * share)).ljust(WIDTH, "-")
        return f"[{bar}] {self._done:,} of {self._total:,} files, {share:.0%}, {self._rate():.0f} a second"
