"""Tasks of Django's Tasks framework."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from django_cluster.errors import Discard, Snooze
from django_cluster.framework.compat import IS_BUILT_IN

if IS_BUILT_IN:
    from django.tasks import task
else:
    from django_tasks import task  # type: ignore[no-redef]  # the same decorator by its other name

seen: list[Any] = []
"""What tasks have noted in this process."""


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task
def echo(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@task
async def async_add(a: int, b: int) -> int:
    return a + b


@task
def fail(message: str) -> None:
    raise ValueError(message)


@task
def exit_process() -> None:
    raise SystemExit(3)


@task
def interrupt() -> None:
    raise KeyboardInterrupt


@task
def return_object() -> object:
    return object()


@task
def discard() -> None:
    raise Discard("no longer wanted")


@task
def snooze() -> None:
    raise Snooze(3600)


@task(takes_context=True)
def describe(context: Any) -> list[Any]:
    return [context.attempt, context.task_result.id, context.task_result.status, context.metadata]


@task(takes_context=True)
def count_in_metadata(context: Any) -> None:
    context.metadata["count"] = context.metadata.get("count", 0) + 1
    context.save_metadata()


@task
def leave_transaction_open() -> str:
    transaction.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "left open"


def plain() -> None:
    """No task."""


other_name = task(plain)
in_lambda = task(lambda: None)


@task
def kill_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task
def kill_worker_once(trace: str) -> int:
    """Its first run kills its worker."""
    path = Path(trace)
    if path.exists():
        return 2
    path.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@task
def sleep_deaf(seconds: float) -> None:
    """Sleeps in small pieces, and swallows what should end it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(BaseException):
            time.sleep(0.05)
