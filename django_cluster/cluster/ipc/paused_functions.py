"""The part of the scoreboard that says which functions are paused. Written by the monitor, read by workers."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b

from django_cluster.cluster.ipc.words import WORD_BYTES

MAX_PAUSED_TASKS = 500
"""Functions that can be paused at the same time."""
PAUSED_BYTES = (2 + MAX_PAUSED_TASKS) * WORD_BYTES
"""A version (odd while it is written), a number, and hashes."""


@lru_cache(maxsize=1024)
def path_hash(path: str) -> int:
    """The dotted path of a function as one word."""
    return int.from_bytes(blake2b(path.encode("utf-8", "replace"), digest_size=WORD_BYTES).digest(), "big")


class PausedFunctions:
    """The words at ``memory``, ``PAUSED_BYTES`` long."""

    def __init__(self, memory: memoryview) -> None:
        self._words = memory.cast("Q")

    def close(self) -> None:
        self._words.release()

    @property
    def version(self) -> int:
        """Another number whenever other functions are paused; 0 before any was."""
        return self._words[0]

    def hashes(self) -> frozenset[int] | None:
        """The ``path_hash`` of each paused function; None while they are being written."""
        version = self._words[0]
        found = frozenset(self._words[2 : 2 + min(self._words[1], MAX_PAUSED_TASKS)])
        return found if version % 2 == 0 and self._words[0] == version else None

    def write(self, hashes: Collection[int]) -> None:
        """Write which functions are paused, at most ``MAX_PAUSED_TASKS``."""
        kept = sorted(hashes)[:MAX_PAUSED_TASKS]
        if frozenset(kept) == self.hashes():
            return
        writing = self._words[0] | 1
        self._words[0] = writing
        self._words[1] = len(kept)
        for place, each in enumerate(kept, 2):
            self._words[place] = each
        self._words[0] = writing + 1
