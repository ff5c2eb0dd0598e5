"""Files of short lines that several processes append to and one reads: the witnesses of a run.

A line is one ``write`` to a file opened for appending, so that lines of different processes never mix, and
what a process has noted stays noted when it is killed a moment later.
"""

from __future__ import annotations

import os
from pathlib import Path

STARTED, ENDED = "started", "ended"
"""What tasks note of themselves."""
CALLED, ACCEPTED, REFUSED = "called", "accepted", "refused"
"""What the sender notes of its calls."""


def append_line(path: Path | str, *words: object) -> None:
    """Append one line; no word may hold a space."""
    line = " ".join(map(str, words)) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


class JournalReader:
    """Reads a journal that is still being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_new(self) -> list[list[str]]:
        """The words of every whole line that has come since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [line.split() for line in whole.decode().splitlines()]


def read_all(path: Path) -> list[list[str]]:
    """The words of every line."""
    return JournalReader(path).read_new()
