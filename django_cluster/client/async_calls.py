"""The functions that views call, for async code: the same arguments and results, awaited.

The event loop goes on while a server is asked. Sending and reading use Django's own thread for synchronous code
(``thread_sensitive``), so that they see the connections and the transaction that ``sync_to_async`` code of the same
request has. While a result is waited for, no thread is occupied between two looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from asgiref.sync import sync_to_async

from django_cluster.client.enqueue import async_bulk, async_task
from django_cluster.client.results import fetch, fetch_group, result, result_group
from django_cluster.models import Task
from django_cluster.stores.base import UNFINISHED, Unfinished

Value = TypeVar("Value")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5
"""Seconds between two looks: doubled from the first to the longest."""


async def aasync_task(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> str:
    """``async_task`` for async code: have ``func(*args, **kwargs)`` called by the cluster; returns the task id.

    Options and errors are those of ``async_task``.
    """
    return await sync_to_async(async_task)(func, *args, **kwargs)


async def aasync_bulk(func: Callable[..., Any] | str, calls: Iterable[Sequence[Any] | Any], **kwargs: Any) -> list[str]:
    """``async_bulk`` for async code: one task for each item of ``calls``; returns their ids."""
    return await sync_to_async(async_bulk)(func, calls, **kwargs)


async def afetch(task_id: str, wait: int = 0, cached: bool | None = None) -> Task | None:
    """``fetch`` for async code: the finished task with this id or name, or None while there is none.

    ``wait``: milliseconds; 0 = one look, negative = as long as it takes.
    """

    async def look() -> Task | Unfinished:
        return await sync_to_async(fetch)(task_id, cached=cached) or UNFINISHED

    found = await poll(look, wait / 1000 if wait >= 0 else None)
    return None if found is UNFINISHED else found


async def aresult(task_id: str, wait: int = 0, cached: bool | None = None, *, required: bool = False) -> Any:
    """``result`` for async code: what the task returned; of a failed task the text of its error.

    None while it has not finished; ``required=True`` raises ``NotFinished`` instead. ``wait`` as for ``afetch``.
    """
    task = await afetch(task_id, wait, cached)
    if task is not None:
        return await sync_to_async(lambda: task.result)()
    return await sync_to_async(result)(task_id, cached=cached, required=required)


async def afetch_group(group_id: str, failures: bool = True, cached: bool | None = None) -> list[Task]:
    """``fetch_group`` for async code: the finished tasks of a group now; without ``failures`` only successes."""
    return await sync_to_async(fetch_group)(group_id, failures, cached=cached)


async def aresult_group(group_id: str, failures: bool = False, cached: bool | None = None) -> list[Any]:
    """``result_group`` for async code: what the finished tasks of a group returned."""
    return await sync_to_async(result_group)(group_id, failures, cached=cached)


async def poll(
    look: Callable[[], Awaitable[Value | Unfinished]], timeout: float | None
) -> Value | Literal[Unfinished.UNFINISHED]:
    """What the coroutine function ``look`` returns as soon as that is not ``UNFINISHED``.

    ``timeout``: seconds; None = as long as it takes, 0 = one look. ``UNFINISHED`` when the time has passed.
    """
    until = None if timeout is None else time.monotonic() + timeout
    pause = FIRST_PAUSE
    while (value := await look()) is UNFINISHED:
        left = LONGEST_PAUSE if until is None else until - time.monotonic()
        if left <= 0:
            return UNFINISHED
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 2, LONGEST_PAUSE)
    return value
