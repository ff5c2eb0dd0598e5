"""Tasks that are written for Celery."""

from __future__ import annotations

from typing import Any

from celery import shared_task

untyped: Any = shared_task


@untyped(autoretry_for=(ConnectionError,), max_retries=3)
def add(x: int, y: int) -> int:
    return x + y


@untyped(name="a name of its own")
def named(x: int) -> int:
    return -x
