"""A set of hashes on the scoreboard, written by one process and read by others without a lock."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b

from django_cluster.cluster.ipc.words import WORD_BYTES

MAX_PAUSED = 500
"""Functions that can be paused at the same time."""
MAX_CANCELLED = 8000
"""Requests to cancel that can wait at the same time."""


def bytes_for(most: int) -> int:
    """The room of a set with at most so many hashes: a version (odd while it is written), a number, and hashes."""
    return (2 + most) * WORD_BYTES


PAUSED_BYTES, CANCELLED_BYTES = bytes_for(MAX_PAUSED), bytes_for(MAX_CANCELLED)


@lru_cache(maxsize=1024)
def text_hash(text: str) -> int:
    """A text as one word."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=WORD_BYTES).digest(), "big")


class SharedHashes:
    """The words at ``memory``, ``bytes_for(most)`` long."""

    def __init__(self, memory: memoryview, most: int) -> None:
        self.words = memory.cast("Q")
        """The first word is the version."""
        self._most = most

    def close(self) -> None:
        self.words.release()

    @property
    def version(self) -> int:
        """Another number whenever the set has changed; 0 before anything was written."""
        return self.words[0]

    def hashes(self) -> frozenset[int] | None:
        """The hashes; None while they are being written."""
        version = self.words[0]
        found = frozenset(self.words[2 : 2 + min(self.words[1], self._most)])
        return found if version % 2 == 0 and self.words[0] == version else None

    def write(self, hashes: Collection[int]) -> None:
        """Replace the set; of more than ``most`` hashes some are left out."""
        kept = sorted(hashes)[: self._most]
        if frozenset(kept) == self.hashes():
            return
        writing = self.words[0] | 1
        self.words[0] = writing
        self.words[1] = len(kept)
        for place, each in enumerate(kept, 2):
            self.words[place] = each
        self.words[0] = writing + 1
