"""Formats of durations and sizes, and the width of texts in a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

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
