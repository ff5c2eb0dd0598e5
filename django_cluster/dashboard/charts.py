"""Charts of a few characters: braille dots, or plain letters where those cannot be shown."""

from __future__ import annotations

from collections.abc import Sequence

DOTS = ((0x40, 0x80), (0x04, 0x20), (0x02, 0x10), (0x01, 0x08))
"""Of a braille character, from its lowest row to the highest: the bit of the left dot and of the right."""
BLANK = 0x2800
EIGHTHS = " ▏▎▍▌▋▊▉"
LETTERS = " .:-=+*#@"
"""From nothing to full, where only ASCII can be shown."""


def resampled(values: Sequence[float], count: int) -> list[float]:
    """So many values, the newest at the end: the highest of each stretch, so that no peak is lost.

    Fewer values than asked for are stretched: each stands for several columns.
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
    """How many of the steps are filled: at least one where there is anything at all."""
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
    """How much of something is used: a bar of ``width`` characters."""
    share = min(1.0, max(0.0, share))
    if ascii_only:
        filled = round(share * width)
        return "#" * filled + "." * (width - filled)
    eighths = round(share * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest] if rest else "") + "░" * width)[:width]
