"""How much of what nobody here has signed may be kept as rows: so many messages, and so many bytes, a day."""

from __future__ import annotations

import time
from collections.abc import Callable

DAY = 86_400.0
MESSAGES_A_DAY = 1000
BYTES_A_DAY = 64 << 20
LARGEST_KEPT = 1 << 20
"""Characters of a payload that are kept whole; of a larger one only its beginning."""
BEGINNING = 1000
LOOK_AGAIN = 3600.0
"""Seconds for which what is above the limit is left in its queue."""


class Allowance:
    """Of one pusher. What is above it stays in the queue: the table of results is not filled, and nothing is lost."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + DAY
        self._messages = self._bytes = 0

    def takes(self, payload: str) -> bool:
        """Whether this message may be put aside as a row; if so, it is counted."""
        if self._clock() >= self._until:
            self._until, self._messages, self._bytes = self._clock() + DAY, 0, 0
        size = len(shortened(payload))
        if self._messages >= MESSAGES_A_DAY or self._bytes + size > BYTES_A_DAY:
            return False
        self._messages += 1
        self._bytes += size
        return True


def shortened(payload: str) -> str:
    """A payload as a row keeps it."""
    if len(payload) <= LARGEST_KEPT:
        return payload
    return f"{payload[:BEGINNING]}… (the beginning of {len(payload)} characters)"
