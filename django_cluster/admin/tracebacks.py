"""A traceback for a page: frames of the project are open, frames of libraries are folded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import ngettext

FRAME = re.compile(r'  File "(?P<path>[^"]*)", line ').match
LIBRARY = re.compile(r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib[\\/]python3|^<frozen ").search
FOLDED_FROM = 2
"""So many frames of libraries in a row are folded; a single one takes no more room than its fold."""


def folded(text: str) -> SafeString:
    """The traceback as one block that scrolls."""
    parts = [_part(library, frames) for library, frames in parts_of(text)]
    inner = format_html_join("", "{}", ((part,) for part in parts))
    return format_html('<div class="dc-text dc-traceback" tabindex="0">{}</div>', inner)


def parts_of(text: str) -> list[tuple[bool, list[str]]]:
    """The traceback in parts that follow each other: whether it is library code, and its frames.

    What is no frame (the first line, the error, a cause) counts as the project's. Where all frames are library code,
    nothing is told apart.
    """
    blocks = list(_blocks(text))
    frames = [library for library, _block in blocks if library is not None]
    apart = not all(frames)
    return [
        (library, [block for _library, block in group])
        for library, group in groupby(blocks, key=lambda each: apart and bool(each[0]))
    ]


def _blocks(text: str) -> Iterator[tuple[bool | None, str]]:
    """Frames with their lines of code, and other lines; for each whether it is library code (None: no frame)."""
    library: bool | None = None
    block: list[str] = []
    for line in text.splitlines():
        frame = FRAME(line)
        if block and (frame or not line.startswith("    ")):
            yield library, "\n".join(block)
            block = []
        if not block:
            library = bool(LIBRARY(frame["path"])) if frame else None
        block.append(line)
    if block:
        yield library, "\n".join(block)


def _part(library: bool, frames: list[str]) -> SafeString:
    text = "\n".join(frames)
    if not library or len(frames) < FOLDED_FROM:
        return format_html("<pre>{}</pre>", text)
    said = ngettext("%(count)d frame of libraries", "%(count)d frames of libraries", len(frames))
    return format_html("<details><summary>{}</summary><pre>{}</pre></details>", said % {"count": len(frames)}, text)
