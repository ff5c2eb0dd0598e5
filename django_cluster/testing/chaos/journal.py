"""Journals: files of short lines that several processes append to and one process reads.

A line is one ``write`` to a file opened with ``O_APPEND``: lines of several processes never mix, and a line survives
a kill of its writer immediately afterwards.
"""

from __future__ import annotations

import os
from pathlib import Path

STARTED, ENDED = "started", "ended"
"""First words of lines written by tasks."""
CALLED, ACCEPTED, REFUSED = "called", "accepted", "refused"
"""First words of lines written by the sender."""


def append_line(path: Path | str, *words: object) -> None:
    """Append one line; words must not contain spaces."""
    line = " ".join(map(str, words)) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


class JournalReader:
    """Reads a journal while it is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_new(self) -> list[list[str]]:
        """The words of each complete line since the last call."""
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
    """The words of each complete line."""
    return JournalReader(path).read_new()
