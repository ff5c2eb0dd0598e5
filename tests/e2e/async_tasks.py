"""``async def`` tasks, well-behaved and not, for whole clusters."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

from django_cluster.models import Task


async def wait(seconds: float, value: Any = None) -> Any:
    await asyncio.sleep(seconds)
    return value


async def process_id(seconds: float = 0.0, trace: str = "") -> int:
    if trace:
        _note(trace)
    await asyncio.sleep(seconds)
    return os.getpid()


async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("as it should")


async def swallow_cancellation(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(end - time.monotonic())


async def block(seconds: float) -> None:
    time.sleep(seconds)


async def cancel_itself() -> None:
    raise asyncio.CancelledError("of its own")


async def exit_process() -> None:
    raise SystemExit(3)


async def close_loop() -> None:
    asyncio.get_running_loop().close()


async def stop_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return "went on"


async def _exit_later() -> None:
    raise SystemExit(4)


async def child_that_exits() -> str:
    child = asyncio.get_running_loop().create_task(_exit_later())
    await asyncio.wait({child})
    return type(child.exception()).__name__


async def leave_child(trace: str) -> str:
    async def outlive() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            _note(trace)

    asyncio.get_running_loop().create_task(outlive())
    await asyncio.sleep(0)
    return "left"


async def use_database(seconds: float) -> tuple[int, bool]:
    """Counts rows by the async ORM; leaves a transaction open in its thread."""
    count = await Task.objects.acount()
    await sync_to_async(_leave_transaction)()
    await asyncio.sleep(seconds)
    return count, await sync_to_async(lambda: connection.in_atomic_block)()


def _leave_transaction() -> None:
    connection.set_autocommit(False)


async def in_clean_connection() -> bool:
    return await sync_to_async(lambda: connection.get_autocommit())()


async def in_group() -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait(0.01, number)) for number in range(3)]
    return sum(task.result() for task in tasks)


def _note(trace: str) -> None:
    with open(trace, "a") as file:
        file.write("running\n")


async def kill_worker() -> None:
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), 9)
