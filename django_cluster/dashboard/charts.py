"""Charts of characters: braille dots, or ASCII."""

from __future__ import annotations

from collections.abc import Sequence

DOTS = ((0x40, 0x80), (0x04, 0x20), (0x02, 0x10), (0x01, 0x08))
"""Bits of the left and right dot of each row of a braille character (Unicode U+2800), lowest row first."""
BLANK = 0x2800
EIGHTHS = " ▏▎▍▌▋▊▉"
LETTERS = " .:-=+*#@"
"""Characters from empty to full, for ASCII."""


def resampled(values: Sequence[float], count: int) -> list[float]:
    """Resample to ``count`` values by the maximum of each interval, so that no peak is lost.

    If there are fewer values, each is repeated.
    """
    if not values or count <= 0:
        return [0.0] * max(0, count)
    size = len(values)
    bounds = [
        (place * size // count, max((place + 1) * size // count, place * size // count + 1)) for place in range(count)
    ]
    return [max(values[start:end]) for start, end in bounds]


def area(values: Sequence[float], width: int, height: int, *, top: float = 0.0, ascii_only: bool = False) -> list[str]:
    """The values as a filled area of ``width`` × ``height`` characters, the highest line first.

    ``top``: the value that fills the chart; 0 = the highest there is.
    """
    top = top or max(values, default=0.0)
    if ascii_only:
        return _letters(resampled(values, width), width, height, top)
    levels = [_level(value, top, height * 4) for value in resampled(values, width * 2)]
    rows = []
    for row in reversed(range(height)):
        rows.append("".join(_cell(levels[place], levels[place + 1], row * 4) for place in range(0, width * 2, 2)))
    return rows


def _level(value: float, top: float, steps: int) -> int:
    """Number of filled steps; at least one for a positive value."""
    if value <= 0 or top <= 0:
        return 0
    return min(steps, max(1, round(value / top * steps)))


def _cell(left: int, right: int, floor: int) -> str:
    bits = 0
    for step, (left_dot, right_dot) in enumerate(DOTS):
        bits |= left_dot * (left > floor + step) | right_dot * (right > floor + step)
    return chr(BLANK | bits)


def _letters(values: Sequence[float], width: int, height: int, top: float) -> list[str]:
    full = len(LETTERS) - 1
    levels = [_level(value, top, height * full) for value in values]
    return [
        "".join(LETTERS[min(full, max(0, level - row * full))] for level in levels) for row in reversed(range(height))
    ]


def gauge(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar of ``width`` characters, filled to ``share`` (0 to 1)."""
    share = min(1.0, max(0.0, share))
    if ascii_only:
        filled = round(share * width)
        return "#" * filled + "." * (width - filled)
    eighths = round(share * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "") + "░" * width)[:width]
