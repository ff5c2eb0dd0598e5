"""The tasks as taskiq knows them: a coroutine where there is nothing to wait for, threads for the ORM."""

from __future__ import annotations

import django
from taskiq_redis import (  # type: ignore[import-not-found, unused-ignore]
    RedisAsyncResultBackend,
    RedisStreamBroker,
)

from benchmarks import tasks
from benchmarks.systems.base import redis_url

django.setup()

broker = RedisStreamBroker(redis_url()).with_result_backend(RedisAsyncResultBackend(redis_url(1)))


async def noop() -> int:
    return tasks.noop()


async def weigh(text: str) -> int:
    return tasks.weigh(text)


TASKS = {
    "noop": broker.register_task(noop, "noop"),
    "weigh": broker.register_task(weigh, "weigh"),
    "pause": broker.register_task(tasks.pause, "pause"),
    "work": broker.register_task(tasks.work, "work"),
}
