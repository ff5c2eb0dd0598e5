"""How many examples a property is tried with: all of them, or a tenth where the profile ``quick`` is chosen."""

from __future__ import annotations

from hypothesis import settings

FULL = 100
"""What hypothesis tries by itself."""


def examples(count: int) -> int:
    """As many, or fewer in a hurry: for ``@settings(max_examples=examples(150))``."""
    chosen: int = settings.default.max_examples if settings.default else FULL
    return count if chosen >= FULL else max(5, count // 10)
