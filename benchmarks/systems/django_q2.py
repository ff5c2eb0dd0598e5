"""django-q2, with two workers and every result kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from benchmarks.systems.base import LOST, ROW, RUN_AGAIN, Addresses, Durability, System

COMMON = {
    **{"name": "bench", "workers": 2, "save_limit": 0, "log_level": "WARNING"},
    # As django_cluster is set up: workers are not replaced after 500 tasks, which costs both a fork each time.
    **{"recycle": 0, "timeout": 60, "retry": 120},
}

PACES = {"redis": 900, "orm-pg": 550, "orm-sqlite": 1_500}


class DjangoQ2(System):
    """Bulk here means: one broker, made once and handed to each call."""

    home = "django-q2"
    requirements: ClassVar = ["django-q2", "redis", "hiredis", "setproctitle", "setuptools"]
    distribution = "django-q2"
    apps: ClassVar = ["django_q"]
    has_bulk = True
    has_schedules = True

    def __init__(self, broker: str) -> None:
        self.name = f"django-q2/{broker}"
        self.broker = broker
        self.database = "sqlite" if broker == "orm-sqlite" else "postgres"
        self.durability = Durability(LOST if broker == "redis" else RUN_AGAIN, ROW)
        self.pace = PACES[broker]

    def settings(self, addresses: Addresses) -> dict[str, Any]:
        broker = {"redis": f"{addresses.redis}/0"} if self.broker == "redis" else {"orm": "default"}
        return {"Q_CLUSTER": {**COMMON, **broker}}

    def commands(self) -> list[list[str]]:
        return [["python", "-m", "django", "qcluster"]]

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from django_q.tasks import async_task  # type: ignore[import-not-found, unused-ignore]

        path = f"benchmarks.tasks.{task}"
        for _ in range(count):
            async_task(path, *arguments)

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from django_q.brokers import get_broker  # type: ignore[import-not-found, unused-ignore]
        from django_q.tasks import async_task  # type: ignore[import-not-found, unused-ignore]

        path, broker = f"benchmarks.tasks.{task}", get_broker()
        for _ in range(count):
            async_task(path, *arguments, broker=broker)

    def schedule(self, count: int) -> None:
        from django.utils import timezone
        from django_q.models import Schedule  # type: ignore[import-not-found, unused-ignore]

        due = timezone.now() - timedelta(seconds=1)
        once = {"func": "benchmarks.tasks.noop", "schedule_type": "O", "next_run": due, "repeats": -1}
        Schedule.objects.bulk_create([Schedule(name=f"bench {number}", **once) for number in range(count)])

    def settled(self, count: int) -> bool:
        from django_q.brokers import get_broker  # type: ignore[import-not-found, unused-ignore]
        from django_q.models import OrmQ, Success  # type: ignore[import-not-found, unused-ignore]

        waiting = get_broker().queue_size() if self.broker == "redis" else OrmQ.objects.count()
        return bool(waiting == 0 and Success.objects.count() >= count)
