"""Writes what other packages leave in a database, as SQL: ``python make.py celery_beat|tasks_db FILE``.

``celery_beat.sql`` is of django-celery-beat 2.9.0, ``tasks_db.sql`` of django-tasks-db 0.13.0.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django
from django.conf import settings

WHAT, TARGET = sys.argv[1:]
APPS = {"celery_beat": "django_celery_beat", "tasks_db": "django_tasks_db"}
FILE = Path(tempfile.mkdtemp()) / "db.sqlite3"
SOON = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
TASK = "tests.sample.contract_tasks.add"

settings.configure(
    SECRET_KEY="of no importance",
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FILE)}},
    INSTALLED_APPS=["django.contrib.contenttypes", APPS[WHAT]],
    TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default", "mail"]}},
)
django.setup()

from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)


def celery_beat() -> None:
    from django_celery_beat import models

    def periodic(name: str, **columns: object) -> None:
        models.PeriodicTask.objects.create(name=name, **{"task": "tests.sample.tasks.add", "args": "[1, 2]", **columns})

    every = models.IntervalSchedule.objects.create(every=2, period="hours")
    often = models.IntervalSchedule.objects.create(every=10, period="seconds")
    nightly = models.CrontabSchedule.objects.create(minute="30", hour="2", timezone="Europe/Amsterdam")
    both = models.CrontabSchedule.objects.create(minute="0", hour="0", day_of_month="13", day_of_week="5")
    clocked = models.ClockedSchedule.objects.create(clocked_time=SOON)
    sun = models.SolarSchedule.objects.create(event="sunset", latitude=52, longitude=4)
    periodic("every two hours", interval=every, last_run_at=SOON, queue="mail", priority=5, expire_seconds=60)
    periodic("nightly", crontab=nightly, enabled=False, kwargs=json.dumps({"y": 2}), args="[1]")
    periodic("once", clocked=clocked, one_off=True)
    periodic("too often", interval=often)
    periodic("friday the 13th", crontab=both)
    periodic("sunset", solar=sun)
    periodic("nowhere", interval=every, task="a name of its own")


def tasks_db() -> None:
    from django_tasks_db.models import DBTaskResult, get_date_max

    def row(number: int, **columns: object) -> None:
        DBTaskResult.objects.create(
            **{
                **{"id": f"{number:032x}", "args_kwargs": {"args": [number, 1], "kwargs": {}}, "task_path": TASK},
                **{"queue_name": "default", "backend_name": "default", "run_after": get_date_max(), **columns},
            }
        )

    row(1)
    row(2, run_after=SOON)
    row(3, task_path="tests.nowhere.task")
    row(4, status="RUNNING", started_at=SOON - timedelta(1))
    row(5, status="SUCCESSFUL", return_value=3)


{"celery_beat": celery_beat, "tasks_db": tasks_db}[WHAT]()
statements = [line for line in sqlite3.connect(FILE).iterdump() if line.startswith(("CREATE TABLE", "INSERT INTO"))]
mine = [line for line in statements if line.split('"')[1].startswith(("django_celery_beat", "django_tasks_database"))]
Path(TARGET).write_text("\n".join(mine) + "\n")
