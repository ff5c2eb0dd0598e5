"""The tasks as pgqueuer knows them, and the program that runs them."""

from __future__ import annotations

import asyncio
import os

import asyncpg  # type: ignore[import-not-found, unused-ignore]
import django
import uvloop  # type: ignore[import-not-found, unused-ignore]
from pgqueuer import AsyncpgDriver, Job, PgQueuer  # type: ignore[import-not-found, unused-ignore]

from benchmarks import tasks

django.setup()


async def noop(job: Job) -> None:
    tasks.noop()


async def weigh(job: Job) -> None:
    tasks.weigh(job.payload.decode())


async def work(job: Job) -> None:
    await asyncio.to_thread(tasks.work)


BATCH = 500


async def main() -> None:
    connection = await asyncpg.connect(os.environ["BENCH_POSTGRES"])
    queuer = PgQueuer(AsyncpgDriver(connection))
    for entrypoint in (noop, weigh, work):
        queuer.entrypoint(entrypoint.__name__)(entrypoint)
    await queuer.run(batch_size=BATCH)


if __name__ == "__main__":
    uvloop.run(main())
