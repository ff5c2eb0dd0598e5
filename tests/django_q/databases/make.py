"""Writes what the real Django-Q leaves in a database, as SQL: ``python make.py FILE``, where Django-Q is installed.

``django_q_1_3.sql`` is of Django-Q 1.3.9 with Django 3.2 and Python 3.9; ``django_q2_1_11.sql`` of django-q2 1.11.1
with Django 5.2. Only for the first is an old Python needed, and neither is for the tests.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import django
from django.conf import settings

FILE = Path(tempfile.mkdtemp()) / "db.sqlite3"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)  # noqa: UP017  for Python 3.9
SOON = datetime(2099, 1, 2, 3, 4, 5, tzinfo=timezone.utc)  # noqa: UP017

settings.configure(
    SECRET_KEY="the key of the databases that Django-Q has made",
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FILE)}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django_q"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    Q_CLUSTER={"name": "old", "orm": "default", "timeout": 60, "retry": 90, "log_level": "ERROR"},
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django_q.brokers import get_broker  # noqa: E402
from django_q.models import OrmQ, Schedule  # noqa: E402
from django_q.tasks import async_chain, async_iter, async_task, schedule  # noqa: E402

try:
    from django_q.monitor import save_task
except ImportError:
    from django_q.cluster import save_task  # before django-q2 1.5

call_command("migrate", verbosity=0)

ADD = "tests.sample.tasks.add"
TRACEBACK = "no luck : Traceback (most recent call last):\n  File x\nValueError: no luck\n"


def ended(number: int, args: tuple[Any, ...], result: Any, success: bool = True, **more: Any) -> None:
    """A row as Django-Q's monitor writes it."""
    task = {
        **{"id": f"{number:032x}", "name": f"task {number}", "func": ADD, "args": args, "kwargs": {}},
        **{"started": NOW, "stopped": NOW + timedelta(seconds=number), "success": success, "result": result},
    }
    save_task({**task, **more}, get_broker())


ended(1, (2, 3), 5, group="sums")
ended(2, (date(2026, 1, 2),), date(2026, 1, 2))
ended(3, ("no luck",), TRACEBACK, success=False)

schedule(ADD, 1, 2, name="daily", schedule_type=Schedule.DAILY, next_run=SOON, repeats=7)
schedule(ADD, 1, y=2, name="once", next_run=SOON, q_options={"timeout": 9})
Schedule.objects.filter(name="daily").delete()  # so that an id is no number in a row
schedule(ADD, 1, 2, name="daily", schedule_type=Schedule.DAILY, next_run=SOON, repeats=7)

for number in range(3):
    async_task(ADD, number, 1, group="waiting", task_name=f"waiting {number}", timeout=30)
async_chain([(ADD, (1, 1)), (ADD, (2, 2))], group="chain")
async_iter(ADD, [(1, 1)])
held = OrmQ.objects.order_by("pk").first()
OrmQ.objects.filter(pk=held.pk).update(lock=SOON)  # a cluster runs it

database = sqlite3.connect(FILE)
statements = [line for line in database.iterdump() if "django_q_" in line and "auth" not in line]
kept = [line for line in statements if line.startswith(("CREATE TABLE", 'INSERT INTO "django_q_'))]
Path(sys.argv[1]).write_text("\n".join(kept) + "\n")
