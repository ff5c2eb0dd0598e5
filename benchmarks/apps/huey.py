"""The tasks as Huey knows them."""

from __future__ import annotations

import django
from huey import RedisHuey  # type: ignore[import-not-found, unused-ignore]

from benchmarks import tasks
from benchmarks.systems.base import redis_url

django.setup()

huey = RedisHuey("bench", url=redis_url())

TASKS = {name: huey.task()(function) for name, function in tasks.TASKS.items()}
