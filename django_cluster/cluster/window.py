"""How many jobs a worker may hold: few when tasks are slow, many when they are quick."""

from __future__ import annotations


class Window:
    """Follows the duration of recent tasks, so that what a worker holds is a few milliseconds of work.

    One at a time would mean one round trip for each task; too many would let tasks wait behind a slow one
    while another worker idles (those are taken back, but not for free).
    """

    PATIENCE = 0.02
    """Seconds of work that may wait in a worker."""
    LARGEST = 256

    def __init__(self) -> None:
        self.size = 1
        self._average = self.PATIENCE

    def learn(self, seconds: float) -> None:
        """A task took ``seconds``. One slow task shuts the window at once; it opens by doubling."""
        self._average = seconds if seconds > self.PATIENCE else self._average + 0.1 * (seconds - self._average)
        fitting = int(self.PATIENCE / max(self._average, 1e-6))
        self.size = max(1, min(fitting, self.size * 2, self.LARGEST))
