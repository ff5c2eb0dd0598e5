"""Supervise the sender: replace it if a call does not return, as a web server replaces its workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

from django_cluster.testing.chaos.journal import CALLED, REFUSED, JournalReader, append_line
from django_cluster.testing.chaos.sandbox import Sandbox

CALL_TIMEOUT_SECONDS = 50.0
"""Longest duration of one call: the documented maximum (45 s, on a database that does not answer) and a margin."""


class SenderSupervisor:
    """Keeps a sender running for ``seconds``.

    ``start``: starts a sender that sends for the given number of seconds.
    """

    def __init__(self, sandbox: Sandbox, start: Callable[[float], BaseProcess], seconds: float) -> None:
        self._sandbox, self._start = sandbox, start
        self._until = time.monotonic() + seconds
        self._journal = JournalReader(sandbox.calls)
        self._heard, self._called = time.monotonic(), ""
        self._process = start(seconds)
        self.incidents: list[str] = []

    def supervise(self) -> None:
        """Replace a sender whose call hangs; to be called often."""
        now = time.monotonic()
        for word, task, *_ in self._journal.read_new():
            self._heard, self._called = now, task if word == CALLED else ""
        if not self._called or now - self._heard < CALL_TIMEOUT_SECONDS or not self._process.is_alive():
            return
        self._process.kill()
        self._process.join()
        append_line(self._sandbox.calls, REFUSED, self._called, self._heard, now, "It did not return.")
        self.incidents.append(f"A call did not return within {CALL_TIMEOUT_SECONDS:g} seconds.")
        self._called = ""
        if self._until - now > 0:
            self._process = self._start(self._until - now)

    def finish(self, every: float) -> None:
        """Wait for the last call, checking ``every`` seconds."""
        while self._process.is_alive():
            self.supervise()
            self._process.join(every)
        if not self.incidents and self._process.exitcode != 0:
            code = self._process.exitcode
            self.incidents.append(f"The sender ended with {code}: a call raised an unexpected error.")
