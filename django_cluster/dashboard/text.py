"""Lines of styled text, and the formats of durations and sizes."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from django_cluster.core.task_progress import TaskProgress


class Span(NamedTuple):
    """A piece of a line in one style."""

    text: str
    style: str = ""
    """Nothing, or one of ``title head good bad warn dim key tab selected``."""


Line = tuple[Span, ...]


def line(*parts: str | Span) -> Line:
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def plain(styled: Line) -> str:
    return "".join(span.text for span in styled)


def clean(text: str) -> str:
    """The text in one line, with control characters replaced by spaces."""
    return "".join(char if char.isprintable() else " " for char in text)


def cells(text: str) -> int:
    """Width of a text in columns of a terminal."""
    return len(text) if text.isascii() else sum(_width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text padded or cut to ``width`` columns; a cut text ends with a tilde."""
    size = cells(text)
    if size > width:
        kept, used = [], 0
        for char in text:
            used += _width(char)
            if used > width - 1:
                break
            kept.append(char)
        text = "".join(kept) + ("~" if width else "")
        size = cells(text)
    padding = " " * (width - size)
    return padding + text if right else text + padding


def clip(styled: Line, width: int) -> Line:
    """The line cut to ``width`` columns."""
    kept, left = [], width
    for span in styled:
        if left <= 0:
            break
        text = span.text if cells(span.text) <= left else fit(span.text, left)
        kept.append(Span(text, span.style))
        left -= cells(text)
    return tuple(kept)


def side_by_side(left: Iterable[Line], right: Iterable[Line], width: int, gap: int = 2) -> list[Line]:
    """Join two blocks of equal height; the left one is ``width`` columns wide."""
    joined = []
    for one, other in zip(left, right, strict=True):
        one = clip(one, width)
        joined.append((*one, Span(" " * (width - cells(plain(one)) + gap)), *other))
    return joined


def duration(seconds: float) -> str:
    """A duration in at most five characters: ``350us``, ``12ms``, ``1.5s``, ``42s``, ``3m07``, ``2h15``, ``4d``."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f}us" if seconds else "0"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}"
    if whole < 100 * 3600:
        return f"{whole // 3600}h{whole // 60 % 60:02}"
    return f"{whole // 86400}d"


def amount(number: float) -> str:
    """A number in at most five characters: ``0.02``, ``0.3``, ``42``, ``1234``, ``12k``, ``3.4M``."""
    if 0 < number < 0.1:
        return f"{number:.2f}"
    if number < 10 and number != int(number):
        return f"{number:.1f}"
    if number < 10_000:
        return f"{number:.0f}"
    if number < 1_000_000:
        return f"{number / 1000:.0f}k"
    return f"{number / 1_000_000:.1f}M"


def megabytes(kilobytes: int) -> str:
    """A size in kilobytes as ``42M`` or ``1.5G``; empty if it is 0 (unknown)."""
    if not kilobytes:
        return ""
    size = kilobytes / 1024
    return f"{size:.0f}M" if size < 1000 else f"{size / 1024:.1f}G"


def progress_text(progress: TaskProgress | None, *, message: bool = True) -> str:
    """How far a task is: ``42% uploading``, or ``420 uploading`` where the total is not known; "" for None."""
    if progress is None:
        return ""
    share = progress.share
    text = f"{progress.done:g}" if share is None else f"{math.floor(share * 100)}%"
    return f"{text} {clean(progress.message)}".rstrip() if message else text
