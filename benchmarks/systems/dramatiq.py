"""Dramatiq on Redis: two processes of eight threads, results in Redis."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.systems.base import RUN_AGAIN, Durability, System, count_in_redis


class Dramatiq(System):
    name = "dramatiq/redis"
    home = "dramatiq"
    requirements: ClassVar = ["dramatiq[redis]", "hiredis"]
    distribution = "dramatiq"
    durability = Durability(RUN_AGAIN, "key in Redis")
    pace = 3_000

    def commands(self) -> list[list[str]]:
        return [["dramatiq", "benchmarks.apps.dramatiq", "--processes=2", "--threads=8"]]

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.dramatiq import TASKS

        call = TASKS[task]
        for _ in range(count):
            call.send(*arguments)

    def settled(self, count: int) -> bool:
        waiting = count_in_redis("HLEN", "dramatiq:default.msgs")
        return waiting == 0 and count_in_redis("DBSIZE", number=1) >= count
