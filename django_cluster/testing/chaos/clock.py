"""A wall clock that can be set wrong for the processes of one cluster only.

The monotonic clock is unaffected, as when the clock of a machine is set.
"""

from __future__ import annotations

import multiprocessing
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.utils import timezone


class SteppedClock:
    """``time.time`` and Django's ``timezone.now`` plus an offset that all processes forked since share."""

    def __init__(self) -> None:
        self._offset: Any = multiprocessing.get_context("fork").RawValue("d", 0.0)
        self._right = time.time

    def step(self, seconds: float) -> None:
        """Set the clock ``seconds`` ahead of the real time for every process that reads it; negative: behind."""
        self._offset.value = seconds

    def install(self) -> None:
        """Make this process and the children that it forks later read this clock."""
        offset, right = self._offset, self._right
        time.time = lambda: right() + offset.value
        vars(timezone)["datetime"] = _shifted(offset)  # the name that timezone.now() asks

    def remove(self) -> None:
        """Make this process read the real time again."""
        time.time = self._right
        vars(timezone)["datetime"] = datetime


def _shifted(offset: Any) -> type[datetime]:
    class Same(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Shifted(datetime, metaclass=Same):
        """Returns instances of the real ``datetime``."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=offset.value)

    return Shifted
