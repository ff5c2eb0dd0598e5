"""Histograms of durations that can be merged: bins of one relative width, from a microsecond to months.

A histogram is a mapping from the number of a bin to a count; empty bins are left out. Bin *n* holds durations from
``2 ** (n / 8)`` up to, but not including, ``2 ** ((n + 1) / 8)`` microseconds: a bin ends 9 % above its beginning.
Histograms of one function from different minutes and clusters are merged by adding their counts, and a quantile of the
result is as exact as that of one histogram.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import log2

BINS_PER_DOUBLING = 8
"""Number of bins between a duration and its double."""
BIN_WIDTH = 2 ** (1 / BINS_PER_DOUBLING)
"""The end of a bin divided by its beginning."""
MAX_SECONDS = 1e9
"""Durations above this count as this: a clock was set."""
MAX_BIN = int(log2(MAX_SECONDS * 1e6) * BINS_PER_DOUBLING)

Histogram = Mapping[int, int]


def bin_of(seconds: float) -> int:
    """The bin of a duration in seconds. Less than a microsecond, less than 0, or no number is bin 0."""
    if not seconds > 1e-6:
        return 0
    return int(log2(seconds * 1e6) * BINS_PER_DOUBLING) if seconds < MAX_SECONDS else MAX_BIN


def bins_of(durations: Iterable[float]) -> list[int]:
    """The bin of each duration, in seconds."""
    return [
        int(log2(seconds * 1e6) * BINS_PER_DOUBLING) if 1e-6 < seconds < MAX_SECONDS else bin_of(seconds)
        for seconds in durations
    ]


def bin_start(number: int) -> float:
    """The shortest duration of a bin, in seconds."""
    return float(2 ** (number / BINS_PER_DOUBLING) / 1e6)


def merged(histograms: Iterable[Histogram]) -> dict[int, int]:
    """One histogram of everything that the given ones count."""
    total: dict[int, int] = {}
    for histogram in histograms:
        add_to(total, histogram)
    return total


def add_to(total: dict[int, int], histogram: Histogram) -> None:
    """Add the counts of a histogram to ``total``, in place."""
    for number, count in histogram.items():
        total[number] = total.get(number, 0) + count


def quantile(histogram: Histogram, share: float) -> float | None:
    """The quantile ``share`` (0 to 1), in seconds; None for an empty histogram.

    It is the middle of the bin that holds it, so that it is off by half the width of a bin at most (4.5 %).
    """
    rank = share * sum(histogram.values())
    number = None
    for number in sorted(histogram):
        rank -= histogram[number]
        if rank <= 0:
            break
    return None if number is None else bin_start(number) * BIN_WIDTH**0.5


def to_text(histogram: Histogram) -> str:
    """A histogram as a column keeps it: JSON, ``{"88": 3, "89": 1}``; empty for an empty histogram."""
    return json.dumps(histogram, separators=(",", ":")) if histogram else ""


def add_text(totals: Sequence[dict[str, int]], text: str) -> None:
    """Add the histogram of a text to each of ``totals``, in place.

    Their keys remain the texts of the numbers (see ``numbered``), so that thousands of texts are added in little time.
    """
    if not text:
        return
    histogram = json.loads(text)
    for total in totals:
        get = total.get
        for number, count in histogram.items():
            total[number] = get(number, 0) + count


def numbered(total: Mapping[str, int]) -> dict[int, int]:
    """The histogram that ``add_text`` has summed up."""
    return {int(number): count for number, count in total.items()}


def from_text(text: str) -> dict[int, int]:
    """The inverse of ``to_text``. Raises ``ValueError`` for other text."""
    return {int(number): int(count) for number, count in json.loads(text).items()} if text else {}
