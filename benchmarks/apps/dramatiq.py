"""The tasks as Dramatiq knows them."""

from __future__ import annotations

import django
import dramatiq  # type: ignore[import-not-found, unused-ignore]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found, unused-ignore]
from dramatiq.results import Results  # type: ignore[import-not-found, unused-ignore]
from dramatiq.results.backends import RedisBackend  # type: ignore[import-not-found, unused-ignore]

from benchmarks import tasks
from benchmarks.systems.base import redis_url

django.setup()

broker = RedisBroker(url=redis_url())
broker.add_middleware(Results(backend=RedisBackend(url=redis_url(1))))
dramatiq.set_broker(broker)

TASKS = {name: dramatiq.actor(store_results=True)(function) for name, function in tasks.TASKS.items()}
