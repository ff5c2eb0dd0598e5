"""How many jobs a worker holds: few when tasks are slow. How many are leased at once: few when they are large."""

from __future__ import annotations

from collections.abc import Collection


class PrefetchWindow:
    """Follows the duration of recent tasks, so that what a worker holds is a few milliseconds of work.

    One at a time would mean one round trip for each task; too many would let tasks wait behind a slow one
    while another worker idles (those are taken back, but not for free).
    """

    TARGET_SECONDS = 0.02
    """Seconds of work that may wait in a worker."""
    MAX_SIZE = 256

    def __init__(self) -> None:
        self.size = 1
        self._average = self.TARGET_SECONDS

    def observe(self, seconds: float) -> None:
        """A task took ``seconds``. One slow task shuts the window at once; it opens by doubling."""
        self._average = seconds if seconds > self.TARGET_SECONDS else self._average + 0.1 * (seconds - self._average)
        fitting = int(self.TARGET_SECONDS / max(self._average, 1e-6))
        self.size = max(1, min(fitting, self.size * 2, self.MAX_SIZE))


class FetchSize:
    """Follows the size of recent messages, so that what is leased at once is a few megabytes.

    The workers would have to wait until hundreds of large ones are here and verified.
    """

    TARGET_CHARACTERS = 1 << 22
    """Characters."""

    def __init__(self) -> None:
        self.size = self.TARGET_CHARACTERS

    def observe(self, payloads: Collection[str]) -> None:
        """Adapt to the number of jobs that arrived together."""
        if payloads:
            self.size = max(1, self.TARGET_CHARACTERS * len(payloads) // max(1, sum(map(len, payloads))))
