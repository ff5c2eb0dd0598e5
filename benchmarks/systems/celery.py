"""Celery on Redis: two prefork workers, results in Redis, acknowledged as by default: before the run."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.systems.base import LOST, Durability, System, count_in_redis


class Celery(System):
    name = "celery/redis"
    home = "celery"
    requirements: ClassVar = ["celery[redis]", "hiredis"]
    distribution = "celery"
    durability = Durability(LOST, "key in Redis")
    pace = 1_000

    def commands(self) -> list[list[str]]:
        return [["celery", "--app=benchmarks.apps.celery", "worker", "--concurrency=2", "--loglevel=WARNING"]]

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.celery import TASKS

        call = TASKS[task]
        for _ in range(count):
            call.delay(*arguments)

    def settled(self, count: int) -> bool:
        waiting = count_in_redis("LLEN", "celery") + count_in_redis("HLEN", "unacked")
        return waiting == 0 and count_in_redis("DBSIZE", number=1) >= count
