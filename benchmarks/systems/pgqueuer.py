"""pgqueuer on asyncpg: two processes that take 500 jobs at a time."""

from __future__ import annotations

import os
from asyncio import Runner
from typing import Any, ClassVar

from benchmarks.systems.base import RUN_AGAIN, Durability, System


class PgQueuer(System):
    """Runs coroutines in the process that also talks to the database: no isolation, no return values."""

    name = "pgqueuer/pg"
    home = "pgqueuer"
    requirements: ClassVar = ["pgqueuer", "asyncpg", "uvloop"]
    distribution = "pgqueuer"
    durability = Durability(RUN_AGAIN, "log row, no value")
    pace = 12_000
    has_bulk = True
    runner: Runner
    queries: Any

    def commands(self) -> list[list[str]]:
        command = ["python", "-m", "benchmarks.apps.pgqueuer"]
        return [command, command]

    def install(self) -> None:
        super().install()
        self.prepare()
        self.runner.run(self.queries.install())
        self.runner.run(self.queries.driver._connection.close())

    def prepare(self) -> None:
        super().prepare()
        import asyncpg  # type: ignore[import-not-found, unused-ignore]
        from pgqueuer import AsyncpgDriver, Queries  # type: ignore[import-not-found, unused-ignore]

        self.runner = Runner()
        self.queries = Queries(AsyncpgDriver(self.runner.run(asyncpg.connect(os.environ["BENCH_POSTGRES"]))))

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        payload = payload_of(arguments)

        async def send_all() -> None:
            for _ in range(count):
                await self.queries.enqueue(task, payload)

        self.runner.run(send_all())

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        self.runner.run(self.queries.enqueue([task] * count, [payload_of(arguments)] * count, [0] * count))

    def settled(self, count: int) -> bool:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pgqueuer")
            if cursor.fetchone()[0]:
                return False
            cursor.execute("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'")
            return bool(cursor.fetchone()[0] >= count)


def payload_of(arguments: tuple[Any, ...]) -> bytes | None:
    return str(arguments[0]).encode() if arguments else None
