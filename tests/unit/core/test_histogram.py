"""Histograms of durations: quantiles are right within the width of a bin, and merging loses nothing."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core.histogram import (
    BIN_WIDTH,
    MAX_BIN,
    MAX_SECONDS,
    bin_of,
    bin_start,
    from_text,
    merged,
    quantile,
    to_text,
)

durations = st.floats(min_value=1.1e-6, max_value=MAX_SECONDS / 2)


def histogram_of(values: list[float]) -> Counter[int]:
    return Counter(map(bin_of, values))


@given(durations)
def test_a_duration_is_in_its_bin(seconds: float) -> None:
    number = bin_of(seconds)

    assert bin_start(number) * (1 - 1e-9) <= seconds < bin_start(number + 1) * (1 + 1e-9)


@pytest.mark.parametrize("seconds", [0.0, -5.0, 1e-9, float("nan"), float("-inf")])
def test_what_is_no_duration_is_in_the_first_bin(seconds: float) -> None:
    assert bin_of(seconds) == 0


def test_an_endless_duration_is_in_the_last_bin() -> None:
    assert bin_of(float("inf")) == bin_of(1e300) == MAX_BIN


@given(st.lists(durations, min_size=1), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_right_within_the_width_of_a_bin(values: list[float], share: float) -> None:
    exact = sorted(values)[max(0, ceil(share * len(values) - 1e-9) - 1)]

    found = quantile(histogram_of(values), share)

    assert found is not None
    assert exact / BIN_WIDTH <= found <= exact * BIN_WIDTH


@given(st.lists(st.lists(durations), max_size=5))
def test_merged_histograms_are_the_histogram_of_everything(parts: list[list[float]]) -> None:
    everything = histogram_of([value for part in parts for value in part])

    assert merged(map(histogram_of, parts)) == everything
    assert from_text(to_text(everything)) == everything


def test_an_empty_histogram_has_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert to_text({}) == ""


def test_other_text_is_refused() -> None:
    with pytest.raises(ValueError, match="Extra data"):
        from_text("88:3")
