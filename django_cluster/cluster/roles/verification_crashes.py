"""Which message a pusher was taking in when it died, noted for its successors.

A message may kill whatever looks at it: by its size, or by a fault in a library that is written in C. It comes back
when its lease ends, and kills the next pusher. So a pusher notes each message that was leased before (one that comes
for the first time has killed nobody), until it has been verified. What its successor finds noted has killed; what
has killed again and again is put aside unopened.

The notes are a file of the cluster's runtime directory, written in place: a few bytes for each message that comes again.
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
"""Deaths that are remembered, the latest."""


class VerificationCrashes:
    """The notes of one cluster. Belongs to its pusher, of which there is one at a time; works without a file, too."""

    def __init__(self, runtime_dir: str | Path) -> None:
        self._file: int | None = None
        self._crashes: list[bytes] = []
        with suppress(OSError):
            self._file = os.open(
                os.path.join(runtime_dir, "verification-crashes"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        self.predecessor_crashed = self._read()
        """Whether the last pusher died while it took in a message that had been leased before."""

    def begin(self, payload: str) -> None:
        """This message is being looked at now."""
        self._write(fingerprint(payload))

    def end(self) -> None:
        """It has killed nobody."""
        self._write(NO_MESSAGE)

    def count(self, payload: str) -> int:
        """How many pushers have died of this message."""
        return self._crashes.count(fingerprint(payload)) if self._crashes else 0

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self) -> bool:
        """The file is what is being looked at, and then the dead, one fingerprint behind the other."""
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
    """Of the beginning, the end and the length: to read all of a large message may be what kills."""
    text = f"{len(payload)}:{payload[:1000]}:{payload[-1000:]}"
    return blake2b(text.encode("utf-8", "replace"), digest_size=FINGERPRINT_BYTES).digest()
