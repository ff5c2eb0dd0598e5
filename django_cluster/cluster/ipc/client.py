"""The calling end of a connection: a worker to its pusher and monitor, a pusher or a notifier to the monitor."""

from __future__ import annotations

import os
import select
import socket
import time

from django_cluster.cluster.ipc.channel import Channel, ConnectionLost, above_stdio
from django_cluster.cluster.ipc.protocol import Message, decode, encode
from django_cluster.cluster.ipc.runtime_dir import SocketAddress
from django_cluster.core.liveness import report_progress

WRITE_PROGRESS_SECONDS = 1.0
"""Seconds between two signs of life of a process that waits until the other end takes what it sends."""


class IpcClient:
    """Connects to an ``IpcServer``. Sending blocks until everything is taken, but for at most ``patience`` seconds."""

    def __init__(self, address: SocketAddress, patience: float = 30.0) -> None:
        self._address = address
        self._patience = patience
        self._channel: Channel | None = None

    @property
    def connected(self) -> bool:
        return self._channel is not None

    @property
    def replaced(self) -> bool:
        """Whether a task has put another file under the descriptor of this connection."""
        return self._channel is not None and self._channel.replaced

    def fileno(self) -> int:
        """Raises ``ConnectionLost`` when not connected."""
        if self._channel is None:
            raise ConnectionLost("not connected")
        return self._channel.fileno()

    def connect(self) -> bool:
        """Try once. Returns False while no server listens."""
        self.close()
        sock = above_stdio(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            sock.setblocking(False)  # a server that hangs and has many callers would block us
            sock.connect(os.fspath(self._address.path))
            self._channel = Channel(sock)
            self._channel.send_key(self._address.key)
        except OSError:
            sock.close()
            self._channel = None
            return False
        return True

    def send(self, message: Message) -> None:
        """Raises ``ConnectionLost``, and closes, when the other end is closed or takes nothing for ``patience`` s."""
        channel = self._channel
        if channel is None:
            raise ConnectionLost("not connected")
        try:
            channel.send(encode(message))
            while channel.has_unsent:
                self._wait_until_writable(channel)
                channel.flush()
        except ConnectionLost:
            self.close()
            raise

    def _wait_until_writable(self, channel: Channel) -> None:
        """Uses ``poll``, which needs no descriptor of its own: a task may have used up all descriptors."""
        poll, until = select.poll(), time.monotonic() + self._patience
        poll.register(channel, select.POLLOUT)
        while (left := until - time.monotonic()) > 0:
            report_progress()  # it is the other end that hangs
            if poll.poll(min(left, WRITE_PROGRESS_SECONDS) * 1000):
                return
        raise ConnectionLost("the other end takes nothing")

    def receive(self, *, until_eof: bool = False) -> list[Message]:
        """The messages that have arrived. Closes when the other end has closed (see ``connected``).

        ``until_eof``: see ``Channel.receive``.
        """
        if self._channel is None:
            return []
        frames, alive = self._channel.receive(until_eof=until_eof)
        if not alive:
            self.close()
        return [decode(data) for data in frames]

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
