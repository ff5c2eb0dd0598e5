"""Charts of characters: braille dots, and letters for ASCII."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from django_cluster.dashboard.charts import area, gauge, resampled


@given(some.lists(some.floats(0, 1e6), max_size=100), some.integers(1, 50), some.integers(1, 10), some.booleans())
def test_a_chart_has_the_size_that_was_asked_for(values: list[float], width: int, height: int, letters: bool) -> None:
    rows = area(values, width, height, ascii_only=letters)

    assert [len(row) for row in rows] == [width] * height
    assert not letters or all(row.isascii() for row in rows)


def test_a_chart_shows_the_highest_value_full_and_the_smallest_at_all() -> None:
    assert area([0, 1000, 1, 500], 2, 1) == ["⢸⣠"] or area([0, 1000, 1, 500], 2, 1) == ["⢸⣰"]
    assert area([0, 1, 8], 3, 1, ascii_only=True) == [" .@"]
    assert area([], 3, 1) == ["⠀⠀⠀"]
    assert area([0, 0], 2, 2, ascii_only=True) == ["  ", "  "]


def test_squeezing_loses_no_peak_and_stretching_repeats() -> None:
    assert resampled([1, 9, 1, 1], 2) == [9, 1]
    assert resampled([1, 2], 4) == [1, 1, 2, 2]
    assert resampled([], 3) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("share", "bar", "letters"),
    [(0, "░░░░", "...."), (0.5, "██░░", "##.."), (1, "████", "####"), (7, "████", "####"), (0.6, "██▍░", "##..")],
)
def test_a_gauge_fills_with_its_share(share: float, bar: str, letters: str) -> None:
    assert gauge(share, 4) == bar
    assert gauge(share, 4, ascii_only=True) == letters
