"""The tasks as Celery knows them."""

from __future__ import annotations

import django
from celery import Celery  # type: ignore[import-not-found, unused-ignore]

from benchmarks import tasks
from benchmarks.systems.base import redis_url

django.setup()

app = Celery("bench", broker=redis_url(), backend=redis_url(1))

TASKS = {name: app.task(function, name=name) for name, function in tasks.TASKS.items()}
