"""One end of a line: bytes in, frames out, and never a wait.

A frame is a 4-byte length and a ``marshal`` of plain values (numbers, text, bytes, tuples, lists): fast,
and unlike a pickle it cannot run anything. Both ends are always the same Python. A line begins with the
cluster's random key, and before that was seen nothing is read.
"""

from __future__ import annotations

import fcntl
import hmac
import marshal
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

LENGTH = struct.Struct("!I")
READ_BYTES = 1 << 18
SEND_BUFFER_BYTES = 1 << 22
"""Bytes that the kernel may hold on the way, where it allows as many: with its own 200 KB, the two ends of a line
would wake each other for every second task that has an argument of 100 KB."""
MAX_READ_BYTES_PER_CALL = 1 << 22
"""Bytes taken from one line in one turn, so that a chatty connection cannot starve the others."""

Message = tuple[Any, ...]
"""A word and its values: ``("ready", 3, [])``."""


class ConnectionLost(ConnectionError):
    """The other end of the line is gone."""


class AuthenticationFailed(ConnectionError):
    """The other end does not know the cluster's key."""


def encode(message: Message) -> bytes:
    body = marshal.dumps(message)
    return LENGTH.pack(len(body)) + body


class Channel:
    """One end of a line: never blocks, keeps what cannot be sent yet, cuts what arrives into frames."""

    def __init__(self, sock: socket.socket, key: bytes = b"") -> None:
        """``key``: what the other end has to send_key before anything that it says is read."""
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._sock = sock
        self._inode = os.fstat(sock.fileno()).st_ino
        self._key = key
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def replaced(self) -> bool:
        """Whether somebody has put another file under our descriptor (``dup2``)."""
        return is_replaced(self._sock.fileno(), self._inode)

    @property
    def has_unsent(self) -> bool:
        """Whether something is still to be flushed."""
        return bool(self._outgoing)

    def send_key(self, key: bytes) -> None:
        """Say the word that opens the other end; raises ``ConnectionLost``."""
        self._outgoing += key
        self.flush()

    def send(self, message: Message) -> None:
        """Send, or keep for ``flush`` what the socket does not take; raises ``ConnectionLost``."""
        self._outgoing += encode(message)
        self.flush()

    def flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._sock.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ConnectionLost from error

    def receive(self, *, until_eof: bool = False) -> tuple[list[Message], bool]:
        """The whole frames that have arrived, and whether the other end is still there.

        ``until_eof``: certainly so; otherwise the end is noticed when all that was said before has been taken.
        Half a frame at the end of a line is dropped whole. Raises ``AuthenticationFailed``.
        """
        alive = self._read(until_eof)
        return list(self._frames()) if self._is_authenticated() else [], alive

    def _is_authenticated(self) -> bool:
        """Whether the key was shown. Before that, what has arrived may be anything, and is not even cut."""
        size = len(self._key)
        if len(self._incoming) < size:
            return False
        if not hmac.compare_digest(bytes(self._incoming[:size]), self._key):
            raise AuthenticationFailed("not the key of this cluster")
        del self._incoming[:size]
        self._key = b""
        return True

    def _read(self, until_eof: bool) -> bool:
        taken = 0
        try:
            while until_eof or taken < MAX_READ_BYTES_PER_CALL:
                data = self._sock.recv(READ_BYTES)
                if not data:
                    return False
                self._incoming += data
                taken += len(data)
                if len(data) < READ_BYTES and not until_eof:
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


def is_replaced(descriptor: int, inode: int) -> bool:
    """Whether a descriptor stands for another file than when it was opened; a closed one does not."""
    try:
        return os.fstat(descriptor).st_ino != inode
    except OSError:
        return False


def above_stdio(sock: socket.socket) -> socket.socket:
    """The same socket under a descriptor that is not 0, 1 or 2.

    A task may close those; what we open next would get their numbers, and a ``print`` of the next task would
    go down the line.
    """
    if sock.fileno() > 2:
        return sock
    safe = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    sock.close()
    return socket.socket(fileno=safe)
