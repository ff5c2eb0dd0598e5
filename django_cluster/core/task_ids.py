"""Task ids, and the friendly names that people read instead.

A name says in four words what the first eight digits of an id say; it is for people, and need not be unique.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import sha256
from importlib.resources import files


def new_task_id() -> str:
    """A random id: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def derived_id(*parts: object) -> str:
    """The id that always follows from these parts: what is sent twice under it is one task, not two."""
    digest = sha256()
    for part in parts:
        data = str(part).encode("utf-8", "backslashreplace")
        # The length in front keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()[:32]


def humanize(digits: str) -> str:
    """Four words for the first eight of these hexadecimal digits; raises ``ValueError`` if they are not."""
    first, second, third, fourth = bytes.fromhex(digits[:8])
    words = known_words()
    return f"{words[first]}-{words[second]}-{words[third]}-{words[fourth]}"


def task_name(task_id: str) -> str:
    """The name of a task that was given none, also for ids that are not ours."""
    try:
        return humanize(task_id)
    except ValueError:
        return humanize(derived_id(task_id))


@cache
def known_words() -> tuple[str, ...]:
    """256 words, one for each value of a byte."""
    text = files("django_cluster.core").joinpath("words.txt").read_text(encoding="ascii")
    return tuple(text.split())
