"""Functions that no test imports: what is sent by their paths is not looked at before a worker does it."""

from __future__ import annotations


def add(a: int, b: int) -> int:
    return a + b


async def add_later(a: int, b: int) -> int:
    return a + b
