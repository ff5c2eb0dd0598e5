"""One reason why something does not run, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Conclusion(IntEnum):
    """What the answer comes to; the number is the exit code of ``qinfo --why``."""

    FINE = 0
    """It has run, it runs, or it is about to run."""
    WAITS = 3
    """It runs by itself when its time has come, or a worker is free."""
    BLOCKED = 4
    """It does not run until the cause is removed."""
    UNKNOWN = 5
    """Nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One answer."""

    code: str
    """A stable word for programs."""
    conclusion: Conclusion
    sentence: str
    advice: str = ""
    """What to do about it; empty where nothing has to be done."""
