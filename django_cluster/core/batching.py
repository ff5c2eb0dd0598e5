"""Splits items into batches for calls and statements with a maximum number of items and bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches(items: Iterable[Item], length: Callable[[Item], int], *, most: int, room: int) -> Iterator[list[Item]]:
    """Split items, in order, into batches of at most ``most`` items and ``room`` bytes; a larger item is a batch of its
    own.

    ``length``: the size of an item in bytes.
    """
    batch: list[Item] = []
    size = 0
    for item in items:
        more = length(item)
        if batch and (len(batch) == most or size + more > room):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch
