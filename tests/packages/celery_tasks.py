"""Tasks that are written for Celery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import celery

F = TypeVar("F", bound=Callable[..., Any])


def shared_task(**options: Any) -> Callable[[F], F]:
    """Celery's decorator, with a type."""
    decorator: Callable[[F], F] = celery.shared_task(**options)
    return decorator


@shared_task(autoretry_for=(ConnectionError,), max_retries=3)
def add(x: int, y: int) -> int:
    return x + y


@shared_task(name="a name of its own")
def named(x: int) -> int:
    return -x
