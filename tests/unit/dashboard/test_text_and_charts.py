"""Words for durations and sizes, widths of letters, and charts of dots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from django_cluster.dashboard.charts import area, gauge, resampled
from django_cluster.dashboard.text import amount, cells, clean, clip, duration, fit, line, megabytes, plain


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0"), (35e-6, "35us"), (0.0123, "12ms"), (1.54, "1.5s"), (42.9, "42s"), (187, "3m07"), (8100, "2h15"),
        (4 * 86400 + 7, "96h00"), (5 * 86400, "5d"), (-90, "-1m30"),
    ],
)  # fmt: skip
def test_durations_are_short_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (0.02, "0.02"),
        (0.35, "0.3"),
        (7, "7"),
        (42.4, "42"),
        (1234, "1234"),
        (56_789, "57k"),
        (3_400_000, "3.4M"),
    ],
)
def test_amounts_are_short_words(number: float, words: str) -> None:
    assert amount(number) == words


def test_memory_is_said_in_megabytes_and_gigabytes() -> None:
    assert (megabytes(0), megabytes(43_000), megabytes(1_600_000)) == ("", "42M", "1.5G")


@given(some.text(max_size=30), some.integers(0, 40))
def test_a_text_fits_exactly_whatever_letters_it_has(text: str, width: int) -> None:
    text = clean(text)

    assert cells(fit(text, width)) == width
    assert cells(fit(text, width, right=True)) == width
    assert cells(plain(clip(line(text, text), width))) <= width


def test_wide_letters_take_two_columns_and_accents_none() -> None:
    assert (cells("日本"), cells("e\u0301"), cells("abc")) == (4, 1, 3)
    assert fit("日本語", 4) == "日~ "


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
