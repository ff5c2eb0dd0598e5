"""Finds the known name that was probably meant by an unknown one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

MAX_COMPARED = 100
"""Maximum number of characters that are compared."""


def closest_match(name: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """The known name that is most similar to this one, ignoring case; "" if none is similar.

    ``synonyms``: other names, in lower case → known names.
    """
    written = name[:MAX_COMPARED].lower()
    if synonyms and written in synonyms:
        return synonyms[written]
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(written, by_lower, n=1)
    return by_lower[near[0]] if near else ""
