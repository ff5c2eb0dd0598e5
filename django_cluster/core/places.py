"""Names on a server for the queue of a site: no two pairs of site and queue have the same one.

The parts are joined by a separator, which is escaped inside them: the queue ``b:c`` of the site ``a`` is ``a:b%3Ac``,
and the queue ``c`` of the site ``a:b`` is ``a%3Ab:c``. Usual names look as they always did.
"""

from __future__ import annotations

import hashlib
from urllib.parse import unquote

LONGEST = 100
"""Characters of a name in the queue table."""
WAITING_ROOM = "held:"
"""How the names of delay queues begin."""


def quoted(text: str, reserved: str = ":") -> str:
    """The text with each reserved character, and the sign of escaping, written as ``%`` and two digits."""
    for sign in f"%{reserved}":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def joined(*parts: str, separator: str = ":", reserved: str = "") -> str:
    """One name for all parts. ``reserved``: further characters that may not stand in it."""
    return separator.join(quoted(part, separator + reserved) for part in parts)


def in_table(site: str, queue: str) -> str:
    """The name of a queue in the queue table, which several sites may share: the site alone for its own queue."""
    if queue.startswith(WAITING_ROOM):
        return queue  # names its site itself
    return fitted(quoted(site) if queue == site else joined(site, queue))


def room_in_table(site: str, alias: str, queue: str) -> str:
    """The name of the waiting room of a queue. ``alias``: of its broker."""
    return fitted(f"{WAITING_ROOM}{quoted(alias)}:{in_table(site, queue)}")


def queue_in(name: str) -> str:
    """The queue that a name in the table means; a waiting room holds messages of the queue whose room it is."""
    if name.startswith(WAITING_ROOM):
        name = name.removeprefix(WAITING_ROOM).partition(":")[2]
    return unquote(name.rpartition(":")[2])


def fitted(name: str) -> str:
    """The name, or as much of it as a column holds and what tells it from others."""
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return f"{name[: LONGEST - 17]}~{digest}"


def hyphenated(site: str, queue: str) -> str:
    """One name of letters and hyphens, where a server knows few other characters.

    The site's own queue has the name of the site, as in Django-Q. Any other is named like ``shop-long-1f0c3a9b``: the
    digest tells the queue ``long`` of the site ``shop`` from the own queue of a site ``shop-long``.
    """
    if site == queue:
        return site
    digest = hashlib.sha256(f"{len(site)}:{site}:{queue}".encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{site}-{queue}-{digest}"
