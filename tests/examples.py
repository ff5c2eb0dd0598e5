"""How many examples a property is tried with: as many as it asks for, or as the chosen profile has."""

from __future__ import annotations

from hypothesis import settings

FULL = 100
"""What hypothesis tries by itself."""


def examples(count: int) -> int:
    """As many, or fewer in a hurry: for ``@settings(max_examples=examples(150))``."""
    chosen: int = settings.default.max_examples if settings.default else FULL
    return count if chosen >= FULL else min(count, chosen)
