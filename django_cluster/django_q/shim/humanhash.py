"""Django-Q's ``humanhash``: words for the digits of an id."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import xor

from django_cluster.core.task_ids import known_words, new_task_id

DEFAULT_WORDLIST = known_words()
"""256 words, one for each value of a byte."""


class HumanHasher:
    """Words for hexadecimal digits, from a list of 256 words."""

    def __init__(self, wordlist: Sequence[str] = DEFAULT_WORDLIST) -> None:
        """Raises ``ValueError`` for a list that does not have exactly 256 words."""
        if len(wordlist) != len(DEFAULT_WORDLIST):
            raise ValueError(f"A list of {len(DEFAULT_WORDLIST)} words is needed; this one has {len(wordlist)}.")
        self.wordlist = tuple(wordlist)

    def humanize(self, hexdigest: str, words: int = 4, separator: str = "-") -> str:
        """Words for the digits. Four words say the first eight digits; any other number says all of them.

        Raises ``ValueError`` for a text with fewer bytes than words, or with other characters.
        """
        data = bytes.fromhex(hexdigest)
        if words == 4 and len(data) >= words:
            return separator.join(self.wordlist[byte] for byte in data[:words])  # the names of tasks
        return separator.join(self.wordlist[byte] for byte in _folded(data, words))

    def uuid(self, **params: object) -> tuple[str, str]:
        """A new (name, id); ``params``: those of ``humanize``."""
        task_id = new_task_id()
        return self.humanize(task_id, **params), task_id  # type: ignore[arg-type]  # checked by humanize


def _folded(data: bytes, count: int) -> list[int]:
    """One byte for each of ``count`` parts of the data."""
    if count < 1 or len(data) < count:
        raise ValueError(f"{len(data)} bytes do not make {count} words.")
    size = len(data) // count
    ends = [*range(size, size * count, size), len(data)]
    return [reduce(xor, data[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


DEFAULT_HASHER = HumanHasher()
uuid = DEFAULT_HASHER.uuid
humanize = DEFAULT_HASHER.humanize
