"""Private lines between the processes of one cluster.

A ``Hub`` (in the pusher, in the monitor) listens on a unix socket in the cluster's private folder; every
other process holds a ``Line`` to it. Nobody shares a line, so nobody can leave one locked, and the end of
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

from django_cluster.cluster.channel import Channel, LineDown, Message, Stranger, above_standard
from django_cluster.core.liveness import report_progress

logger = logging.getLogger("django_cluster")

BACKLOG = 512
ADDRESS_LOOK = 1.0
"""Seconds between two looks whether a hub can still be reached."""
WRITE_LOOK = 1.0
"""Seconds between two signs of life of a process that waits until it can send."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a hub listens, and the word that opens it."""

    path: str | os.PathLike[str]
    key: bytes = field(repr=False)


class Line:
    """The side that calls. Blocks until what it sends is taken, but never longer than ``patience``."""

    def __init__(self, address: Address, patience: float = 30.0) -> None:
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
            raise LineDown("not connected")
        return self._channel.fileno()

    def connect(self) -> bool:
        """Try once; False while nobody listens."""
        self.close()
        sock = above_standard(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            sock.setblocking(False)  # else it would wait for one that hangs and has many callers
            sock.connect(os.fspath(self._address.path))
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
        """By ``poll``, which needs no descriptor of its own: a task may have used them up."""
        poll, until = select.poll(), time.monotonic() + self._patience
        poll.register(channel, select.POLLOUT)
        while (left := until - time.monotonic()) > 0:
            report_progress()  # it is the other end that hangs
            if poll.poll(min(left, WRITE_LOOK) * 1000):
                return
        raise LineDown("the other end takes nothing")

    def receive(self, *, to_the_end: bool = False) -> list[Message]:
        """What has arrived; closes the line when the other end is gone (see ``connected``).

        ``to_the_end``: as ``Channel.receive``.
        """
        if self._channel is None:
            return []
        messages, alive = self._channel.receive(to_the_end=to_the_end)
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
    messages: list[Message] = field(repr=False)
    ended: bool


class Hub:
    """The side that listens: many peers, one thread, no blocking."""

    def __init__(self, address: Address) -> None:
        self._key = address.key
        self._path = address.path
        self._look_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._socket = self._listen(address.path)
        self._selector.register(self._socket, selectors.EVENT_READ, None)
        self._waker: int | None = None
        self.peers: set[Peer] = set()

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

    def also_wake_for(self, descriptor: int) -> None:
        """``poll`` also returns when this becomes readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, descriptor)

    def wake_for(self, descriptor: int | None) -> None:
        """The same for one that changes: it takes the place of the one before, which may have been closed."""
        if self._waker is not None:
            self._selector.unregister(self._waker)
        self._waker = descriptor
        if descriptor is not None:
            self.also_wake_for(descriptor)

    def poll(self, timeout: float) -> list[Heard]:
        """Wait up to ``timeout`` seconds for anything; then everything that is there."""
        heard = []
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + ADDRESS_LOOK
            self._stay_reachable()
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

    def _stay_reachable(self) -> None:
        """Listen anew when our address is gone: somebody has removed the folder, and the sentinel made it again."""
        if os.path.exists(self._path):
            return
        with suppress(OSError):  # there is no folder yet
            fresh = self._listen(self._path)
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = fresh
            self._selector.register(fresh, selectors.EVENT_READ, None)

    def finish(self, peer: Peer) -> Heard:
        """Read a line to its end and close it: its owner is dead, although a copy of that end may be open elsewhere."""
        try:
            messages, _ = peer.channel.receive(to_the_end=True)
        except Stranger:
            messages = []
        if peer in self.peers:
            self._drop(peer)
        return Heard(peer, messages, True)

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
