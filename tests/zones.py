"""A made-up time zone whose rules a test can change, as a new release of the time zone database does."""

from __future__ import annotations

import struct
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

NAME = "Made/Up"

SUMMER = "CET-1CEST,M3.5.0,M10.5.0/3"
"""An hour ahead of UTC, two in summer: from 02:00 of the last Sunday in March to 03:00 of the last one in October."""
NO_SUMMER = "CET-1"
ALWAYS_SUMMER = "CEST-2"
HALF_AN_HOUR = "HALF-1:30"


def tzif(rule: str) -> bytes:
    """A file of the time zone database, version 2, that says nothing but this rule, in the words of POSIX."""
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)  # one type of local time, four letters of names
    header, body = b"TZif2" + bytes(15) + counts, struct.pack(">lBB", 3600, 0, 0) + b"LMT\0"
    return header + body + header + body + b"\n" + rule.encode() + b"\n"


class Zone:
    """The zone ``Made/Up``, as long as its rules are in the folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME

    def has_rules(self, rule: str) -> ZoneInfo:
        """New rules, for a process that is started after this."""
        self._file.parent.mkdir(exist_ok=True)
        self._file.write_bytes(tzif(rule))
        ZoneInfo.clear_cache()
        return ZoneInfo(NAME)

    def is_gone(self) -> None:
        self._file.unlink()
        ZoneInfo.clear_cache()


@contextmanager
def made_up_zone(folder: Path) -> Iterator[Zone]:
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[str(folder), *before])
    try:
        yield Zone(folder)
    finally:
        zoneinfo.reset_tzpath(to=before)
        ZoneInfo.clear_cache()
