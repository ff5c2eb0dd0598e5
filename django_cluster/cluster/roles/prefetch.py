"""How many jobs a worker holds (few when slow), and how many messages are leased together (few when large)."""

from __future__ import annotations

from collections.abc import Collection


class PrefetchWindow:
    """The number of jobs for a worker, adapted to the duration of recent tasks: a few milliseconds of work.

    One at a time would mean one round trip for each task; too many would let tasks wait behind a slow one
    while another worker is idle (they are revoked, which takes time).
    """

    TARGET_SECONDS = 0.02
    """Seconds of work that may wait in a worker."""
    MAX_SIZE = 256

    def __init__(self) -> None:
        self.size = 1
        self._average = self.TARGET_SECONDS

    def observe(self, seconds: float) -> None:
        """A task took ``seconds``. One slow task closes the window immediately; it opens by doubling."""
        self._average = seconds if seconds > self.TARGET_SECONDS else self._average + 0.1 * (seconds - self._average)
        fitting = int(self.TARGET_SECONDS / max(self._average, 1e-6))
        self.size = max(1, min(fitting, self.size * 2, self.MAX_SIZE))


class FetchSize:
    """The number of messages to lease together, adapted to the size of recent ones: a few megabytes.

    Otherwise the workers would have to wait until hundreds of large messages are received and verified.
    """

    TARGET_CHARACTERS = 1 << 22
    """Characters of the payloads that are leased together."""

    def __init__(self) -> None:
        self.size = self.TARGET_CHARACTERS

    def observe(self, payloads: Collection[str]) -> None:
        """Adapt to payloads that were leased together."""
        if payloads:
            self.size = max(1, self.TARGET_CHARACTERS * len(payloads) // max(1, sum(map(len, payloads))))
