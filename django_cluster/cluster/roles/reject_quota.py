"""How many undecodable messages, and how many bytes of them, may be saved as rows in a day."""

from __future__ import annotations

import time
from collections.abc import Callable

DAY_SECONDS = 86_400.0
MAX_MESSAGES_PER_DAY = 1000
MAX_BYTES_PER_DAY = 64 << 20
MAX_PAYLOAD_CHARACTERS = 1 << 20
"""Longest payload, in characters, that is saved whole; of a longer one only the beginning is."""
TRUNCATED_CHARACTERS = 1000
POSTPONED_SECONDS = 3600.0
"""Seconds after which a message above the quota is leased again."""


class RejectQuota:
    """The quota of one pusher. What is above it stays in the queue, so that it neither fills the table nor is lost."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + DAY_SECONDS
        self._messages = self._bytes = 0

    def accept(self, payload: str) -> bool:
        """Whether this message may be saved as a row; if so, it is counted."""
        if self._clock() >= self._until:
            self._until, self._messages, self._bytes = self._clock() + DAY_SECONDS, 0, 0
        size = len(truncated(payload))
        if self._messages >= MAX_MESSAGES_PER_DAY or self._bytes + size > MAX_BYTES_PER_DAY:
            return False
        self._messages += 1
        self._bytes += size
        return True


def truncated(payload: str) -> str:
    """A payload as it is saved."""
    if len(payload) <= MAX_PAYLOAD_CHARACTERS:
        return payload
    return f"{payload[:TRUNCATED_CHARACTERS]}… (the beginning of {len(payload)} characters)"
