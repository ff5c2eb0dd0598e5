"""taskiq on Redis streams, acknowledged when the result has been saved, with two worker processes."""

from __future__ import annotations

from asyncio import Runner
from typing import Any, ClassVar

from benchmarks.systems.base import RUN_AGAIN, Durability, System, count_in_redis


class Taskiq(System):
    """Bulk: the client sends many at once on one event loop, for there is no call that does."""

    name = "taskiq/streams"
    home = "taskiq"
    requirements: ClassVar = ["taskiq", "taskiq-redis", "hiredis", "uvloop"]
    distribution = "taskiq"
    durability = Durability(RUN_AGAIN, "key in Redis")
    pace = 4_000
    has_bulk = True
    has_async = True
    runner: Runner

    def commands(self) -> list[list[str]]:
        options = ["--workers=2", "--ack-type=when_saved", "--log-level=WARNING"]
        return [["taskiq", "worker", "benchmarks.apps.taskiq:broker", *options]]

    def prepare(self) -> None:
        from benchmarks.apps.taskiq import broker

        self.runner = Runner()
        # Makes the consumer group too: what is sent before there is one is never delivered.
        self.runner.run(broker.startup())

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.taskiq import TASKS

        async def send_all() -> None:
            for _ in range(count):
                await TASKS[task].kiq(*arguments)

        self.runner.run(send_all())

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from asyncio import gather

        from benchmarks.apps.taskiq import TASKS

        async def send_portion(size: int) -> None:
            await gather(*(TASKS[task].kiq(*arguments) for _ in range(size)))

        for start in range(0, count, AT_ONCE):
            self.runner.run(send_portion(min(AT_ONCE, count - start)))

    def settled(self, count: int) -> bool:
        from redis import Redis

        from benchmarks.systems.base import redis_url

        pending = Redis.from_url(redis_url()).xpending("taskiq", "taskiq")["pending"]
        return pending == 0 and count_in_redis("DBSIZE", number=1) >= count


AT_ONCE = 20
"""Each of them takes a connection of its own from the pool."""
