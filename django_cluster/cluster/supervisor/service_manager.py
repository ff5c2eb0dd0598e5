"""What systemd is told of a cluster: that it is ready, that it lives, that it stops.

The protocol is one datagram of lines ``NAME=value`` to the socket that ``NOTIFY_SOCKET`` names (``man 3 sd_notify``);
``WATCHDOG_USEC`` says within how many microseconds a sign of life is wanted. Without these variables, nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
SIGNS_PER_PERIOD = 3
"""Signs of life in the time within which systemd wants one; it recommends two."""


class ServiceManager:
    """Sends the state of this process to systemd, if systemd has asked for it. Raises nothing."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Takes the variables out of ``environ``, so that no child process or task speaks for this one."""
        address = environ.pop(SOCKET, "")
        period, pid = environ.pop(WATCHDOG, ""), environ.pop(WATCHDOG_PID, "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        mine = pid in ("", str(os.getpid()))
        self._interval = int(period) / 1e6 / SIGNS_PER_PERIOD if period.isdecimal() and mine else None
        self._signalled_at = float("-inf")

    def ready(self, status: str) -> None:
        """The cluster works. ``status``: what ``systemctl status`` shows."""
        self._send("READY=1", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", f"STATUS={status}")

    def alive(self, now: float) -> None:
        """A sign of life, as often as the watchdog needs it. ``now``: monotonic time."""
        if self._interval is not None and now - self._signalled_at >= self._interval:
            self._signalled_at = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)  # a service manager that does not read must not stop the sentinel
            sender.sendto("\n".join(lines).encode(), self._address)
