"""Signal handlers that exist for as long as a cluster runs, and wake its loop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signal_handlers(
    signals: Iterable[int], handler: Callable[[int, FrameType | None], None], wakeup: socket.socket
) -> Iterator[None]:
    """Install ``handler`` for these signals within the context. Each signal also writes to ``wakeup``."""
    wakeup.setblocking(False)
    before = {number: signal.signal(number, handler) for number in signals}
    previous_wakeup = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        for number, previous in before.items():
            signal.signal(number, previous)
