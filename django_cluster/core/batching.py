"""Splits items into batches for calls and statements with a maximum number of items and bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batches(
    items: Iterable[Item], length: Callable[[Item], int] | None = None, *, most: int, room: float = math.inf
) -> Iterator[list[Item]]:
    """The items in their order, in lists of at most ``most`` items and ``room`` bytes.

    ``length``: the bytes of one item; an item that is larger than ``room`` goes alone.
    """
    batch: list[Item] = []
    size = 0
    for item in items:
        more = length(item) if length is not None else 0
        if batch and (len(batch) == most or size + more > room):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch
