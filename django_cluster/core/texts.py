"""Which texts every database, page and terminal can hold, and what becomes of the others.

Two characters cannot be kept everywhere: NUL, which PostgreSQL refuses, and half of a surrogate pair (``"\\ud83d"``
alone), which cannot be encoded at all. What a caller names (a task, a group, a function) is refused with them, so that
it can be found again under its name. What merely comes by (an error text, the label of a foreign message) is cleaned.
"""

from __future__ import annotations

import re

NUL = "\0"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_IMPOSSIBLE = re.compile("[\0\ud800-\udfff]")


def clean(text: str | None, limit: int | None = None) -> str | None:
    """The text cut to ``limit`` characters, and free of NUL and of lone surrogates."""
    if not text:
        return text
    if limit is not None and len(text) > limit:
        text = text[:limit]
    if text.isascii():
        return text.replace(NUL, REPLACEMENT) if NUL in text else text
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace(NUL, REPLACEMENT)


def checked(text: str, what: str) -> str:
    """The text itself. Raises ``ValueError`` for one that cannot be kept everywhere; ``what`` begins the sentence."""
    found = None if text.isascii() and NUL not in text else _IMPOSSIBLE.search(text)
    if found is None:
        return text
    kind = "NUL" if found[0] == NUL else "half of a surrogate pair"
    raise ValueError(
        f"{what} cannot be kept: character {found.start() + 1} of {text[:100]!a} is"
        f" U+{ord(found[0]):04X} ({kind}), which no database keeps."
    )
