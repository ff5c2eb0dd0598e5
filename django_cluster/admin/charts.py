"""Charts as SVG: bars and lines without a script and without a style of their own, so that a strict policy can stay.

The colours are those of the style sheet's classes, light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 600, 120

SVG = (
    '<svg class="dc-chart" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{label}">'
    "{body}</svg>"
)


class Stack(NamedTuple):
    """One bar: parts from the bottom to the top, each a class and a number, and a text that a pointer sees."""

    title: str
    parts: Sequence[tuple[str, float]]


def bars(stacks: Sequence[Stack], label: str, *, width: int = WIDTH, height: int = HEIGHT) -> SafeString:
    """Stacked bars side by side, the highest as high as the chart. ``label``: what the chart shows, as one text."""
    top = max((sum(number for _, number in stack.parts) for stack in stacks), default=0) or 1
    step = width / max(1, len(stacks))
    drawn = format_html_join("", "{}", ((_bar(stack, n * step, step, height, top),) for n, stack in enumerate(stacks)))
    return format_html(SVG, width=width, height=height, label=label, body=drawn)


def _bar(stack: Stack, left: float, step: float, height: int, top: float) -> SafeString:
    below, rects = 0.0, []
    for name, number in stack.parts:
        if number:
            size = max(1.0, number / top * height)
            below += size
            rects.append(
                (name, f"{left + step * 0.08:.1f}", f"{height - below:.1f}", f"{step * 0.84:.1f}", f"{size:.1f}")
            )
    if not rects:
        return SafeString("")
    drawn = format_html_join("", '<rect class="dc-{}" x="{}" y="{}" width="{}" height="{}"/>', rects)
    return format_html("<g><title>{}</title>{}</g>", stack.title, drawn)


def lines(series: Sequence[tuple[str, Sequence[float | None]]], label: str) -> SafeString:
    """Lines over the same buckets, each with a class; None is a gap."""
    top = max((value for _, values in series for value in values if value is not None), default=0) or 1
    drawn = [
        format_html('<polyline class="dc-line dc-{}" points="{}"/>', name, points)
        for name, values in series
        for points in _runs(values, top)
    ]
    body = format_html_join("", "{}", ((each,) for each in drawn))
    return format_html(SVG, width=WIDTH, height=HEIGHT, label=label, body=body)


def _runs(values: Sequence[float | None], top: float) -> list[str]:
    """The points of each run of values without a gap; a lone value is a short line."""
    step = WIDTH / max(1, len(values))
    found: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            found.append([])
            continue
        y = f"{HEIGHT - 2 - value / top * (HEIGHT - 4):.1f}"
        found[-1] += [f"{number * step:.1f},{y}", f"{(number + 1) * step:.1f},{y}"]
    return [" ".join(points) for points in found if points]
