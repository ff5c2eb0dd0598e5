"""The tasks as procrastinate knows them."""

from __future__ import annotations

import os

import django
from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found, unused-ignore]

from benchmarks import tasks

django.setup()


async def noop() -> int:
    return tasks.noop()


async def weigh(text: str) -> int:
    return tasks.weigh(text)


app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"]))
app.task(noop, name="noop")
app.task(weigh, name="weigh")
app.task(tasks.work, name="work")
