"""A project on the real Django-Q, in a process of its own: makes its tables, and leaves something in each.

The settings and the program are one file. The database is that of ``tests.django_settings``.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.django_settings import DATABASES, SECRET_KEY, TIME_ZONE, USE_TZ  # noqa: F401  settings

INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS = os.environ.get("THEIR_REDIS", "")
Q_CLUSTER = {
    "name": os.environ.get("THEIR_NAME", "theirs"),
    "timeout": 60,
    "retry": 90,
    "log_level": "ERROR",
    **({"redis": REDIS} if REDIS else {"orm": "default"}),
}


def results() -> None:
    """Rows as Django-Q's own monitor writes them."""
    from django_q.brokers import get_broker
    from django_q.monitor import save_task
    from django_q.tasks import async_task

    async_task("tests.sample.tasks.add", 2, 3, task_name="a sum", group="sums", sync=True)
    async_task("tests.sample.tasks.echo", "x", {"deep": [1]}, y=None, sync=True, task_name="an echo")
    async_task("tests.sample.tasks.echo", date(2026, 1, 2), sync=True, task_name="a date")
    now = datetime.now(UTC)
    failed = {
        "id": "f" * 32,
        "name": "a failure",
        "func": "tests.sample.tasks.fail",
        "args": ("no luck",),
        "kwargs": {},
        "started": now - timedelta(seconds=5),
        "stopped": now,
        "success": False,
        "result": "no luck : Traceback (most recent call last):\n  File x\nValueError: no luck\n",
    }
    broker = get_broker()
    save_task(failed, broker)
    late = {
        **failed,
        "id": "e" * 32,
        "name": "a time-out",
        "result": "Task exceeded maximum timeout value (60 seconds)",
    }
    save_task(late, broker)


def schedules() -> None:
    from django_q.models import Schedule
    from django_q.tasks import schedule

    long_ago, soon = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=300)
    schedule("tests.sample.tasks.touch", os.environ.get("THEIR_TRACE", "/dev/null"), next_run=long_ago)
    schedule("tests.sample.tasks.add", 1, 2, name="daily", schedule_type=Schedule.DAILY, next_run=soon, repeats=7)
    schedule("tests.sample.tasks.echo", x="1", schedule_type=Schedule.CRON, cron="30 2 * * *", q_options={"timeout": 9})
    schedule("tests.sample.tasks.echo", y=2, timeout=30, ack_failure=True, next_run=soon)
    Schedule.objects.create(func="<function broken at 0x7f>", name="broken", next_run=soon)


def queue() -> None:
    from django_q.models import OrmQ
    from django_q.tasks import async_chain, async_iter, async_task

    from tests.sample.tasks import add, echo

    for number in range(3):
        async_task("tests.sample.tasks.add", number, 1, group="waiting", task_name=f"waiting {number}", timeout=30)
    async_task("tests.sample.tasks.echo", date(2026, 1, 2), task_name="waiting date", cluster=os.environ["THEIR_NAME"])
    async_chain([(add, (1, 1)), ("tests.sample.tasks.add", (2, 2)), (echo, (3,), {"x": 4})], group="chain")
    async_iter("tests.sample.tasks.add", [(1, 1)])
    if not REDIS:
        OrmQ.objects.create(key=os.environ["THEIR_NAME"], payload="garbage")


def main(*parts: str) -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = __spec__.name if __spec__ else "tests.e2e.django_q_project"
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    doings: dict[str, Any] = {"results": results, "schedules": schedules, "queue": queue}
    for part in parts:
        doings[part]()


if __name__ == "__main__":
    main(*sys.argv[1:])
