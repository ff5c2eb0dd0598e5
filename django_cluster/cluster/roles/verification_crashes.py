"""Which message a pusher was verifying when it died, noted for its successors.

A message may crash each process that reads it: by its size, or by a fault in a library that is written in C. It comes
back when its lease ends, and crashes the next pusher. So a pusher notes each message that was leased before (one that
is leased for the first time has crashed none), until it has been verified. What its successor finds noted has crashed
it; a message that has crashed several pushers is rejected unopened.

The notes are a file in the runtime directory, written in place: a few bytes for each message that is leased again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

FINGERPRINT_BYTES = 8
"""Bytes of a fingerprint."""
NO_MESSAGE = bytes(FINGERPRINT_BYTES)
MAX_CRASHES = 256
"""How many crashes are remembered, the latest."""


class VerificationCrashes:
    """The notes of one cluster, written by its pusher, of which there is one at a time. Works without a file, too."""

    def __init__(self, runtime_dir: str | Path) -> None:
        self._file: int | None = None
        self._crashes: list[bytes] = []
        with suppress(OSError):
            self._file = os.open(
                os.path.join(runtime_dir, "verification-crashes"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        self.predecessor_crashed = self._read()
        """Whether the last pusher died while it verified a message that had been leased before."""

    def begin(self, payload: str) -> None:
        """The message is being verified."""
        self._write(fingerprint(payload))

    def end(self) -> None:
        """The message has been verified."""
        self._write(NO_MESSAGE)

    def count(self, payload: str) -> int:
        """How many pushers have died while they verified this message."""
        return self._crashes.count(fingerprint(payload)) if self._crashes else 0

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self) -> bool:
        """The file has the fingerprint of what is being verified, then those of all crashes."""
        if self._file is None:
            return False
        with suppress(OSError):
            data = os.pread(self._file, FINGERPRINT_BYTES * (MAX_CRASHES + 1), 0)
            found = [data[start : start + FINGERPRINT_BYTES] for start in range(0, len(data), FINGERPRINT_BYTES)]
            self._crashes = [each for each in found[1:] if len(each) == FINGERPRINT_BYTES]
            if found and found[0] != NO_MESSAGE:
                self._crashes = [*self._crashes, found[0]][-MAX_CRASHES:]
                os.pwrite(self._file, NO_MESSAGE + b"".join(self._crashes), 0)
                return True
        return False

    def _write(self, current: bytes) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.pwrite(self._file, current, 0)


def fingerprint(payload: str) -> bytes:
    """A digest of the beginning, the end and the length: reading all of a large message may be what crashes."""
    text = f"{len(payload)}:{payload[:1000]}:{payload[-1000:]}"
    return blake2b(text.encode("utf-8", "replace"), digest_size=FINGERPRINT_BYTES).digest()
