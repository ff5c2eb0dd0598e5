"""How a batch is parted where one call, or one statement, takes only so many items and so many bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches(items: Iterable[Item], length: Callable[[Item], int], *, most: int, room: int) -> Iterator[list[Item]]:
    """In their order, at most ``most`` items of ``room`` bytes at a time; one that is larger goes alone."""
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
