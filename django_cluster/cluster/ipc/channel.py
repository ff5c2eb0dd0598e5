"""One end of a connection: frames of bytes over a unix socket, without ever waiting.

A frame is a length of 4 bytes and the data. A connection begins with the random key of the cluster; before the key has
been seen, nothing else is read.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import socket
import struct
from collections.abc import Iterator

LENGTH = struct.Struct("!I")
READ_BYTES = 1 << 18
SEND_BUFFER_BYTES = 1 << 22
"""Bytes that the kernel may buffer, where it allows that many: with its default of 200 KB, the two ends of a connection
would wake each other for every second task that has an argument of 100 KB."""
MAX_READ_BYTES_PER_CALL = 1 << 22
"""Bytes read from one connection at a time, so that one that sends much does not starve the others."""


class ConnectionLost(ConnectionError):
    """The other end of the connection is closed, or takes nothing."""


class AuthenticationFailed(ConnectionError):
    """The other end did not send the key of the cluster."""


def frame(data: bytes) -> bytes:
    """``data`` as it is sent."""
    return LENGTH.pack(len(data)) + data


class Channel:
    """Sends and receives frames: never blocks, keeps what cannot be sent yet, cuts what arrives into frames."""

    def __init__(self, sock: socket.socket, key: bytes = b"") -> None:
        """``key``: what the other end has to send before anything else is read."""
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
        """Whether a task has put another file under the descriptor of this socket (``dup2``)."""
        return is_replaced(self._sock.fileno(), self._inode)

    @property
    def has_unsent(self) -> bool:
        """Whether ``flush`` has something left to send."""
        return bool(self._outgoing)

    def send_key(self, key: bytes) -> None:
        """Authenticate at the other end. Raises ``ConnectionLost``."""
        self._outgoing += key
        self.flush()

    def send(self, data: bytes) -> None:
        """Send a frame; what the socket does not take is kept for ``flush``. Raises ``ConnectionLost``."""
        self._outgoing += frame(data)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes of what was kept. Raises ``ConnectionLost``."""
        try:
            while self._outgoing:
                del self._outgoing[: self._sock.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ConnectionLost from error

    def receive(self, *, until_eof: bool = False) -> tuple[list[bytearray], bool]:
        """The data of all complete frames that have arrived, and whether the other end is still open.

        ``until_eof``: read everything that has arrived; otherwise up to ``MAX_READ_BYTES_PER_CALL``, and the end of the
        connection is noticed when everything before it has been read. An incomplete frame at the end is dropped.
        Raises ``AuthenticationFailed``.
        """
        alive = self._read(until_eof)
        return list(self._frames()) if self._is_authenticated() else [], alive

    def _is_authenticated(self) -> bool:
        """Whether the key has arrived. What arrives before it is not cut into frames: it may be anything."""
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

    def _frames(self) -> Iterator[bytearray]:
        start, buffer = 0, self._incoming
        while len(buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            end = start + LENGTH.size + length
            if len(buffer) < end:
                break
            yield buffer[start + LENGTH.size : end]
            start = end
        del buffer[:start]

    def close(self) -> None:
        self._sock.close()


def is_replaced(descriptor: int, inode: int) -> bool:
    """Whether a descriptor refers to another file than when it was opened. A closed descriptor does not."""
    try:
        return os.fstat(descriptor).st_ino != inode
    except OSError:
        return False


def above_stdio(sock: socket.socket) -> socket.socket:
    """Duplicate a socket to a descriptor other than 0, 1 and 2.

    A task may close those. A socket that is opened next would get their number, and a ``print`` of the next task would
    be sent over the connection.
    """
    if sock.fileno() > 2:
        return sock
    safe = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    sock.close()
    return socket.socket(fileno=safe)
