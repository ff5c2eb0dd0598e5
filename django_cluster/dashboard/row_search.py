"""The filter of the screen as a database condition on rows of finished tasks.

The condition finds at least what the filter of the screen (``tables.matches``) will keep of these rows, so that a row
is found however many newer ones there are.
"""

from __future__ import annotations

import re

from django.db.models import Q

FIELDS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "state": ("status",),
    "queue": ("queue",),
    "id": ("id",),
    "group": ("group",),
    "worker": ("worker",),
    "error": ("error_kind", "error_message"),
    "function": ("func",),
    "name": ("name",),
}
"""Name of a column or filter field → columns of the table."""
STORED = tuple(dict.fromkeys(name for names in FIELDS.values() for name in names))


def condition(query: str) -> Q | None:
    """The rows that may match every word of the query; None for a query without words."""
    words = query.split()
    if not words:
        return None
    found = Q()
    for word in words:
        found &= _one(word)
    return found


def _one(word: str) -> Q:
    name, colon, text = word.partition(":")
    stored = [field for title, fields in FIELDS.items() if title.startswith(name.lower()) for field in fields]
    if not (colon and name and stored):
        text, stored = word, list(STORED)
    has = Q()
    for field in dict.fromkeys(stored):
        has |= Q(**{f"{field}__icontains": _literal(text)})
    return has


def _literal(pattern: str) -> str:
    """The longest literal part of a pattern; a set such as ``[ab]`` has none."""
    return max(re.split(r"[*?]|\[!?\]?[^]]*\]", pattern), key=len)
