"""Batches are parted by number and by size, and lose nothing."""

from __future__ import annotations

import pytest

from django_cluster.core.batching import batches


@pytest.mark.parametrize(
    ("lengths", "parted"),
    [
        ([], []),
        ([1, 1, 1, 1, 1], [[1, 1, 1], [1, 1]]),
        ([4, 6, 1], [[4, 6], [1]]),
        ([5, 6, 5, 5], [[5], [6], [5, 5]]),
        ([11, 1, 12], [[11], [1], [12]]),
    ],
    ids=str,
)
def test_a_portion_has_at_most_so_many_items_and_bytes(lengths: list[int], parted: list[list[int]]) -> None:
    assert list(batches(lengths, int, most=3, room=10)) == parted


def test_without_a_length_only_the_number_counts() -> None:
    assert list(batches(range(10), most=4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(batches([], most=4)) == []
