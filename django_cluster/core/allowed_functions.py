"""The setting ``functions``: which functions may be named by a task, a hook or a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

ANY = "any"
"""Whatever can be imported."""
REGISTERED = "registered"
"""What the project has marked as a task in its code."""

OWN = (
    "django_cluster.composition.iters.collect",
    "django_cluster.client.retries.retry_in_background",
)
"""Tasks of the package itself: always allowed."""


def is_pattern(text: object) -> bool:
    """Whether it may be an element of ``functions``: ``registered``, or a dotted path in which ``*`` matches any
    characters, ``?`` one character and ``[abc]`` one of several."""
    if not isinstance(text, str) or not text or text != text.strip():
        return False
    return text == REGISTERED or "*" in text or "." in text


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns covers the path. Capitals and small letters differ."""
    return path in OWN or any(fnmatchcase(path, pattern) for pattern in patterns if pattern != REGISTERED)
