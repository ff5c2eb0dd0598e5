"""Huey on Redis, with two worker processes."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.systems.base import LOST, Durability, System


class Huey(System):
    name = "huey/redis"
    home = "huey"
    requirements: ClassVar = ["huey", "redis", "hiredis"]
    distribution = "huey"
    durability = Durability(LOST, "hash field in Redis")
    pace = 6_000

    def commands(self) -> list[list[str]]:
        return [["huey_consumer", "benchmarks.apps.huey.huey", "--workers=2", "--worker-type=process", "--quiet"]]

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.huey import TASKS

        call = TASKS[task]
        for _ in range(count):
            call(*arguments)

    def settled(self, count: int) -> bool:
        from benchmarks.apps.huey import huey

        return bool(huey.storage.queue_size() == 0 and huey.storage.result_store_size() >= count)
