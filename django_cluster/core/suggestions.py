"""What somebody may have meant who wrote a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

MAX_COMPARED = 100
"""Characters that are compared: what is longer is no slip of the pen."""


def closest_match(name: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """The known name that resembles this one most, in capitals or not; "" if none does.

    ``synonyms``: what else a known name is called elsewhere, in small letters.
    """
    written = name[:MAX_COMPARED].lower()
    if synonyms and written in synonyms:
        return synonyms[written]
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(written, by_lower, n=1)
    return by_lower[near[0]] if near else ""
