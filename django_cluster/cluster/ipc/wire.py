"""Private lines between the processes of one cluster.

A ``IpcServer`` (in the pusher, in the monitor) listens on a unix socket in the cluster's runtime directory; every
other process holds a ``IpcClient`` to it. Nobody shares a line, so nobody can leave one locked, and the end of
a line *is* the death notice.

What goes over a line, and how it is cut into messages, is the business of ``channel.py``.
"""

from __future__ import annotations

import logging
import os
import select
import selectors
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django_cluster.cluster.ipc.channel import AuthenticationFailed, Channel, ConnectionLost, Message, above_stdio
from django_cluster.core.liveness import report_progress

logger = logging.getLogger("django_cluster")

BACKLOG = 512
ADDRESS_CHECK_SECONDS = 1.0
"""Seconds between two looks whether a server can still be reached."""
WRITE_PROGRESS_SECONDS = 1.0
"""Seconds between two signs of life of a process that waits until it can send."""


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where a server listens, and the word that opens it."""

    path: str | os.PathLike[str]
    key: bytes = field(repr=False)


class IpcClient:
    """The side that calls. Blocks until what it sends is taken, but never longer than ``patience``."""

    def __init__(self, address: SocketAddress, patience: float = 30.0) -> None:
        self._address = address
        self._patience = patience
        self._channel: Channel | None = None

    @property
    def connected(self) -> bool:
        return self._channel is not None

    @property
    def replaced(self) -> bool:
        """Whether a task has put another file under the descriptor of this line."""
        return self._channel is not None and self._channel.replaced

    def fileno(self) -> int:
        if self._channel is None:
            raise ConnectionLost("not connected")
        return self._channel.fileno()

    def connect(self) -> bool:
        """Try once; False while nobody listens."""
        self.close()
        sock = above_stdio(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            sock.setblocking(False)  # else it would wait for one that hangs and has many callers
            sock.connect(os.fspath(self._address.path))
            self._channel = Channel(sock)
            self._channel.send_key(self._address.key)
        except OSError:
            sock.close()
            self._channel = None
            return False
        return True

    def send(self, message: Message) -> None:
        """Raises ``ConnectionLost`` (and closes) when the other end is gone or takes nothing for too long."""
        channel = self._channel
        if channel is None:
            raise ConnectionLost("not connected")
        try:
            channel.send(message)
            while channel.has_unsent:
                self._wait_until_writable(channel)
                channel.flush()
        except ConnectionLost:
            self.close()
            raise

    def _wait_until_writable(self, channel: Channel) -> None:
        """By ``poll``, which needs no descriptor of its own: a task may have used them up."""
        poll, until = select.poll(), time.monotonic() + self._patience
        poll.register(channel, select.POLLOUT)
        while (left := until - time.monotonic()) > 0:
            report_progress()  # it is the other end that hangs
            if poll.poll(min(left, WRITE_PROGRESS_SECONDS) * 1000):
                return
        raise ConnectionLost("the other end takes nothing")

    def receive(self, *, until_eof: bool = False) -> list[Message]:
        """What has arrived; closes the line when the other end is gone (see ``connected``).

        ``until_eof``: as ``Channel.receive``.
        """
        if self._channel is None:
            return []
        messages, alive = self._channel.receive(until_eof=until_eof)
        if not alive:
            self.close()
        return messages

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class ClientConnection:
    """One caller, as the server sees it. ``card`` is what it said of itself; the server's owner keeps it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.card: Any = None

    def send(self, message: Message) -> None:
        """A connection that is gone is noticed by the server's next ``poll``; nothing is raised here."""
        with suppress(ConnectionLost):
            self.channel.send(message)


@dataclass(frozen=True, slots=True)
class Received:
    """What one connection has said since the last look."""

    connection: ClientConnection
    messages: list[Message] = field(repr=False)
    ended: bool


class IpcServer:
    """The side that listens: many connections, one thread, no blocking."""

    def __init__(self, address: SocketAddress) -> None:
        self._key = address.key
        self._path = address.path
        self._check_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._socket = self._listen(address.path)
        self._selector.register(self._socket, selectors.EVENT_READ, None)
        self._wakeup: int | None = None
        self.connections: set[ClientConnection] = set()

    @staticmethod
    def _listen(path: str | os.PathLike[str]) -> socket.socket:
        """Take the place of a dead predecessor: bind beside it, then move over it in one step."""
        fresh = f"{os.fspath(path)}.{os.getpid()}"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.bind(fresh)
            sock.listen(BACKLOG)
            os.rename(fresh, path)
        except OSError:
            sock.close()
            raise
        return sock

    def add_wakeup(self, descriptor: int) -> None:
        """``poll`` also returns when this becomes readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, descriptor)

    def set_wakeup(self, descriptor: int | None) -> None:
        """The same for one that changes: it takes the place of the one before, which may have been closed."""
        if self._wakeup is not None:
            self._selector.unregister(self._wakeup)
        self._wakeup = descriptor
        if descriptor is not None:
            self.add_wakeup(descriptor)

    def poll(self, timeout: float) -> list[Received]:
        """Wait up to ``timeout`` seconds for anything; then everything that is there."""
        received = []
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + ADDRESS_CHECK_SECONDS
            self._keep_address()
        for connection in self.connections:
            self._select_events(connection)
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._socket:
                self._accept()
            elif isinstance(key.data, ClientConnection):
                if events & selectors.EVENT_WRITE:
                    with suppress(ConnectionLost):
                        key.data.channel.flush()
                if events & selectors.EVENT_READ and (news := self._receive(key.data)):
                    received.append(news)
        return received

    def _keep_address(self) -> None:
        """Listen anew when our address is gone: somebody has removed the folder, and the sentinel made it again."""
        if os.path.exists(self._path):
            return
        with suppress(OSError):  # there is no folder yet
            fresh = self._listen(self._path)
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = fresh
            self._selector.register(fresh, selectors.EVENT_READ, None)

    def drain(self, connection: ClientConnection) -> Received:
        """Read a line to its end and close it: its owner is dead, although a copy of that end may be open elsewhere."""
        try:
            messages, _ = connection.channel.receive(until_eof=True)
        except AuthenticationFailed:
            messages = []
        if connection in self.connections:
            self._drop(connection)
        return Received(connection, messages, True)

    def _select_events(self, connection: ClientConnection) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.channel.has_unsent else 0)
        if self._selector.get_key(connection.channel).events != events:
            self._selector.modify(connection.channel, events, connection)

    def _accept(self) -> None:
        with suppress(OSError):  # a connection that died while connecting is nobody
            while True:
                sock, _ = self._socket.accept()
                connection = ClientConnection(Channel(sock, self._key))
                self.connections.add(connection)
                self._selector.register(connection.channel, selectors.EVENT_READ, connection)

    def _receive(self, connection: ClientConnection) -> Received | None:
        try:
            messages, alive = connection.channel.receive()
        except AuthenticationFailed:
            logger.warning("A process without the key of this cluster called; it was turned away.")
            messages, alive = [], False
        if not alive:
            self._drop(connection)
        return Received(connection, messages, not alive) if messages or not alive else None

    def _drop(self, connection: ClientConnection) -> None:
        self._selector.unregister(connection.channel)
        self.connections.discard(connection)
        connection.channel.close()

    def close(self) -> None:
        for connection in list(self.connections):
            self._drop(connection)
        self._selector.close()
        self._socket.close()
