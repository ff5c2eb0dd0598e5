"""Names on a server for the queue of a namespace: no two pairs of namespace and queue have the same one.

The parts are joined by a separator, which is escaped inside them: the queue ``b:c`` of the namespace ``a`` is
``a:b%3Ac``, and the queue ``c`` of the namespace ``a:b`` is ``a%3Ab:c``. Usual names look as they always did.
"""

from __future__ import annotations

import hashlib
from urllib.parse import unquote

MAX_LENGTH = 100
"""Characters of a name in the queue table."""
DELAY_QUEUE_PREFIX = "delayed:"
"""How the names of delay queues begin."""


def escape(text: str, reserved: str = ":") -> str:
    """The text with each reserved character, and the sign of escaping, written as ``%`` and two digits."""
    for sign in f"%{reserved}":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def join_escaped(*parts: str, separator: str = ":", reserved: str = "") -> str:
    """One name for all parts. ``reserved``: further characters that may not stand in it."""
    return separator.join(escape(part, separator + reserved) for part in parts)


def table_queue_name(namespace: str, queue: str) -> str:
    """The name of a queue in the queue table, which several namespaces may share: the namespace alone for its own
    queue."""
    if queue.startswith(DELAY_QUEUE_PREFIX):
        return queue  # names its namespace itself
    return shortened(escape(namespace) if queue == namespace else join_escaped(namespace, queue))


def delay_queue_in_table(namespace: str, alias: str, queue: str) -> str:
    """The name of the delay queue of a queue. ``alias``: of its broker."""
    return shortened(f"{DELAY_QUEUE_PREFIX}{escape(alias)}:{table_queue_name(namespace, queue)}")


def parse_queue_name(name: str) -> str:
    """The queue that a name in the table means; a delay queue holds messages of the queue that it is named after."""
    if name.startswith(DELAY_QUEUE_PREFIX):
        name = name.removeprefix(DELAY_QUEUE_PREFIX).partition(":")[2]
    return unquote(name.rpartition(":")[2])


def shortened(name: str) -> str:
    """The name, or as much of it as a column holds and what tells it from others."""
    if len(name) <= MAX_LENGTH:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return f"{name[: MAX_LENGTH - 17]}~{digest}"


def hyphenated_name(namespace: str, queue: str) -> str:
    """One name of letters and hyphens, where a server knows few other characters.

    The namespace's own queue has the name of the namespace, as in Django-Q. Any other is named like
    ``shop-long-1f0c3a9b``: the digest tells the queue ``long`` of the namespace ``shop`` from the own queue of a
    namespace ``shop-long``.
    """
    if namespace == queue:
        return namespace
    digest = hashlib.sha256(f"{len(namespace)}:{namespace}:{queue}".encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{namespace}-{queue}-{digest}"
