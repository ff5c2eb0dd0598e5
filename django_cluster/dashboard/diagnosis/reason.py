"""A reason why something does not run, and its conclusion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Conclusion(IntEnum):
    """The conclusion of a diagnosis; the number is the exit code of ``qinfo --why``."""

    FINE = 0
    """Finished, running, or about to run."""
    WAITS = 3
    """Runs without intervention, when it is due or a worker is free."""
    BLOCKED = 4
    """Does not run until the cause is removed."""
    UNKNOWN = 5
    """Nothing is known about it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of a diagnosis."""

    code: str
    """Stable identifier for programs."""
    conclusion: Conclusion
    sentence: str
    advice: str = ""
    """What to do about it; empty if nothing has to be done."""
