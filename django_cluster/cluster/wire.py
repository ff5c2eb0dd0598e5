"""Private lines between the processes of one cluster.

A ``Hub`` (in the pusher, in the monitor) listens on a unix socket in the cluster's private folder; every
other process holds a ``Line`` to it. Nobody shares a line, so nobody can leave one locked, and the end of
a line *is* the death notice.

A frame is a 4-byte length and a ``marshal`` of plain values (numbers, text, bytes, tuples, lists): fast,
and unlike a pickle it cannot run anything. Both ends are always the same Python. A line begins with the
cluster's random key, and before that was seen nothing is read.
"""

from __future__ import annotations

import fcntl
import hmac
import logging
import marshal
import os
import selectors
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger("django_cluster")

LENGTH = struct.Struct("!I")
READ_SIZE = 1 << 18
MAX_READ_AT_ONCE = 1 << 22
"""Bytes taken from one line in one turn, so that a chatty peer cannot starve the others."""
BACKLOG = 512

Message = tuple[Any, ...]
"""A word and its values: ``("ready", 3, [])``."""


class LineDown(ConnectionError):
    """The other end of the line is gone."""


class Stranger(ConnectionError):
    """The other end does not know the cluster's key."""


def pack(message: Message) -> bytes:
    body = marshal.dumps(message)
    return LENGTH.pack(len(body)) + body


class Channel:
    """One end of a line: never blocks, keeps what cannot be sent yet, cuts what arrives into frames."""

    def __init__(self, sock: socket.socket, key: bytes = b"") -> None:
        """``key``: what the other end has to show before anything that it says is read."""
        sock.setblocking(False)
        self._sock = sock
        self._key = key
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def sending(self) -> bool:
        """Whether something is still to be flushed."""
        return bool(self._outgoing)

    def show(self, key: bytes) -> None:
        """Say the word that opens the other end; raises ``LineDown``."""
        self._outgoing += key
        self.flush()

    def send(self, message: Message) -> None:
        """Send, or keep for ``flush`` what the socket does not take; raises ``LineDown``."""
        self._outgoing += pack(message)
        self.flush()

    def flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._sock.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise LineDown from error

    def receive(self) -> tuple[list[Message], bool]:
        """The whole frames that have arrived, and whether the other end is still there.

        Half a frame at the end of a line is dropped whole. Raises ``Stranger``.
        """
        alive = self._read()
        return list(self._frames()) if self._opened() else [], alive

    def _opened(self) -> bool:
        """Whether the key was shown. Before that, what has arrived may be anything, and is not even cut."""
        size = len(self._key)
        if len(self._incoming) < size:
            return False
        if not hmac.compare_digest(bytes(self._incoming[:size]), self._key):
            raise Stranger("not the key of this cluster")
        del self._incoming[:size]
        self._key = b""
        return True

    def _read(self) -> bool:
        taken = 0
        try:
            while taken < MAX_READ_AT_ONCE:
                data = self._sock.recv(READ_SIZE)
                if not data:
                    return False
                self._incoming += data
                taken += len(data)
                if len(data) < READ_SIZE:
                    return True
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def _frames(self) -> Iterator[Message]:
        start, buffer = 0, self._incoming
        while len(buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            end = start + LENGTH.size + length
            if len(buffer) < end:
                break
            yield marshal.loads(buffer[start + LENGTH.size : end])  # noqa: S302  our own processes, cannot execute
            start = end
        del buffer[:start]

    def close(self) -> None:
        self._sock.close()


def above_standard(sock: socket.socket) -> socket.socket:
    """The same socket under a descriptor that is not 0, 1 or 2.

    A task may close those; what we open next would get their numbers, and a ``print`` of the next task would
    go down the line.
    """
    if sock.fileno() > 2:
        return sock
    safe = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    sock.close()
    return socket.socket(fileno=safe)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a hub listens, and the word that opens it."""

    path: Path
    key: bytes


class Line:
    """The side that calls. Blocks until what it sends is taken, but never longer than ``patience``."""

    def __init__(self, address: Address, patience: float = 30.0) -> None:
        self._address = address
        self._patience = patience
        self._channel: Channel | None = None

    @property
    def connected(self) -> bool:
        return self._channel is not None

    def fileno(self) -> int:
        if self._channel is None:
            raise LineDown("not connected")
        return self._channel.fileno()

    def connect(self) -> bool:
        """Try once; False while nobody listens."""
        self.close()
        sock = above_standard(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            sock.connect(str(self._address.path))
            self._channel = Channel(sock)
            self._channel.show(self._address.key)
        except OSError:
            sock.close()
            self._channel = None
            return False
        return True

    def send(self, message: Message) -> None:
        """Raises ``LineDown`` (and closes) when the other end is gone or takes nothing for too long."""
        channel = self._channel
        if channel is None:
            raise LineDown("not connected")
        try:
            channel.send(message)
            while channel.sending:
                self._wait_until_writable(channel)
                channel.flush()
        except LineDown:
            self.close()
            raise

    def _wait_until_writable(self, channel: Channel) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(channel, selectors.EVENT_WRITE)
            if not selector.select(self._patience):
                raise LineDown("the other end takes nothing")

    def receive(self) -> list[Message]:
        """What has arrived; closes the line when the other end is gone (see ``connected``)."""
        if self._channel is None:
            return []
        messages, alive = self._channel.receive()
        if not alive:
            self.close()
        return messages

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class Peer:
    """One caller, as the hub sees it. ``card`` is what it said of itself; the hub's owner keeps it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.card: Any = None

    def send(self, message: Message) -> None:
        """A peer that is gone is noticed by the hub's next ``poll``; nothing is raised here."""
        with suppress(LineDown):
            self.channel.send(message)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one peer has said since the last look."""

    peer: Peer
    messages: list[Message]
    ended: bool


class Hub:
    """The side that listens: many peers, one thread, no blocking."""

    def __init__(self, address: Address) -> None:
        self._key = address.key
        self._selector = selectors.DefaultSelector()
        self._socket = self._listen(address.path)
        self._selector.register(self._socket, selectors.EVENT_READ, None)
        self.peers: set[Peer] = set()

    @staticmethod
    def _listen(path: Path) -> socket.socket:
        """Take the place of a dead predecessor: bind beside it, then move over it in one step."""
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.bind(str(fresh))
        sock.listen(BACKLOG)
        fresh.rename(path)
        return sock

    def also_wake_for(self, descriptor: int) -> None:
        """``poll`` also returns when this becomes readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, descriptor)

    def poll(self, timeout: float) -> list[Heard]:
        """Wait up to ``timeout`` seconds for anything; then everything that is there."""
        heard = []
        for peer in self.peers:
            self._watch(peer)
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._socket:
                self._accept()
            elif isinstance(key.data, Peer):
                if events & selectors.EVENT_WRITE:
                    with suppress(LineDown):
                        key.data.channel.flush()
                if events & selectors.EVENT_READ and (news := self._hear(key.data)):
                    heard.append(news)
        return heard

    def _watch(self, peer: Peer) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.channel.sending else 0)
        if self._selector.get_key(peer.channel).events != events:
            self._selector.modify(peer.channel, events, peer)

    def _accept(self) -> None:
        with suppress(OSError):  # a peer that died while connecting is nobody
            while True:
                sock, _ = self._socket.accept()
                peer = Peer(Channel(sock, self._key))
                self.peers.add(peer)
                self._selector.register(peer.channel, selectors.EVENT_READ, peer)

    def _hear(self, peer: Peer) -> Heard | None:
        try:
            messages, alive = peer.channel.receive()
        except Stranger:
            logger.warning("A process without the key of this cluster called; it was turned away.")
            messages, alive = [], False
        if not alive:
            self._drop(peer)
        return Heard(peer, messages, not alive) if messages or not alive else None

    def _drop(self, peer: Peer) -> None:
        self._selector.unregister(peer.channel)
        self.peers.discard(peer)
        peer.channel.close()

    def close(self) -> None:
        for peer in list(self.peers):
            self._drop(peer)
        self._selector.close()
        self._socket.close()
