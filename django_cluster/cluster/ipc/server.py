"""The listening end of connections: the pusher's for workers and the monitor, and the monitor's for all others.

A server listens on a unix socket in the runtime directory of the cluster. Every other process has a connection of its
own: no process can leave it locked, and its end *is* the notice that the process has died.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

from django_cluster.cluster.ipc.channel import AuthenticationFailed, Channel, ConnectionLost
from django_cluster.cluster.ipc.protocol import Message, decode, encode
from django_cluster.cluster.ipc.runtime_dir import SocketAddress
from django_cluster.core.events.processes import CONNECTION_REJECTED

BACKLOG = 512
ADDRESS_CHECK_SECONDS = 1.0
"""Seconds between two checks whether the socket of a server still exists."""


class ClientConnection:
    """The connection of one client, as the server sees it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def send(self, message: Message) -> None:
        """Never blocks and never raises: the next ``IpcServer.poll`` notices a client that is gone."""
        with suppress(ConnectionLost):
            self.channel.send(encode(message))


@dataclass(frozen=True, slots=True)
class Received:
    """What has arrived on one connection since the last ``poll``."""

    connection: ClientConnection
    messages: list[Message] = field(repr=False)
    ended: bool
    """Whether the client has closed the connection."""


class IpcServer:
    """Serves any number of connections in one thread, without blocking on any."""

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
        """Replace the socket of a dead predecessor: bind beside it, then rename, which is one step."""
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
        """``poll`` also returns when ``descriptor`` becomes readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, descriptor)

    def set_wakeup(self, descriptor: int | None) -> None:
        """``poll`` also returns when ``descriptor`` is readable, and no longer for that of the last call.

        The last one may have been closed.
        """
        if self._wakeup is not None:
            self._selector.unregister(self._wakeup)
        self._wakeup = descriptor
        if descriptor is not None:
            self.add_wakeup(descriptor)

    def poll(self, timeout: float) -> list[Received]:
        """Wait up to ``timeout`` seconds for a connection or a message; returns everything that has arrived."""
        received = []
        if time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + ADDRESS_CHECK_SECONDS
            self._restore_socket()
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

    def _restore_socket(self) -> None:
        """Listen again when the socket is gone: another program has removed the runtime directory."""
        if os.path.exists(self._path):
            return
        with suppress(OSError):  # the sentinel has not restored the directory yet
            fresh = self._listen(self._path)
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = fresh
            self._selector.register(fresh, selectors.EVENT_READ, None)

    def drain(self, connection: ClientConnection) -> Received:
        """Read everything that has arrived on a connection, and close it.

        For the connection of a process that is dead, while a program that its tasks have started keeps a copy open.
        """
        try:
            frames, _ = connection.channel.receive(until_eof=True)
        except AuthenticationFailed:
            frames = []
        if connection in self.connections:
            self._drop(connection)
        return Received(connection, [decode(data) for data in frames], True)

    def _select_events(self, connection: ClientConnection) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.channel.has_unsent else 0)
        if self._selector.get_key(connection.channel).events != events:
            self._selector.modify(connection.channel, events, connection)

    def _accept(self) -> None:
        with suppress(OSError):  # a client that died while it connected
            while True:
                sock, _ = self._socket.accept()
                connection = ClientConnection(Channel(sock, self._key))
                self.connections.add(connection)
                self._selector.register(connection.channel, selectors.EVENT_READ, connection)

    def _receive(self, connection: ClientConnection) -> Received | None:
        try:
            frames, alive = connection.channel.receive()
        except AuthenticationFailed:
            CONNECTION_REJECTED.log()
            frames, alive = [], False
        if not alive:
            self._drop(connection)
        return Received(connection, [decode(data) for data in frames], not alive) if frames or not alive else None

    def _drop(self, connection: ClientConnection) -> None:
        self._selector.unregister(connection.channel)
        self.connections.discard(connection)
        connection.channel.close()

    def close(self) -> None:
        for connection in list(self.connections):
            self._drop(connection)
        self._selector.close()
        self._socket.close()
