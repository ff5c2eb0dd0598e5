"""django_cluster: the package beside this folder."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from benchmarks.systems.base import ROW, RUN_AGAIN, Addresses, Durability, System

COMMON = {"name": "bench", "workers": 2, "save_limit": 0, "recycle": 0, "log_level": "WARNING"}
"""All rows are kept; and to replace a worker now and then is a choice of its own, which none of the others makes."""

PACES = {"redis": 10_000, "orm-pg": 8_000, "orm-sqlite": 8_000}
TASK_PACES = {"redis": 1_000, "orm-pg": 1_000}
BACKEND = "django_cluster.backend.ClusterBackend"


class DjangoCluster(System):
    """Two workers; rows in the project's database, all of them kept."""

    home = "django-cluster"
    requirements: ClassVar = ["redis", "hiredis", "setproctitle"]
    distribution = "django-cluster"
    apps: ClassVar = ["django_cluster"]
    durability = Durability(RUN_AGAIN, ROW)
    has_bulk = True
    has_async = True
    has_schedules = True

    def __init__(self, broker: str) -> None:
        self.name = f"django_cluster/{broker}"
        self.broker = broker
        self.database = "sqlite" if broker == "orm-sqlite" else "postgres"
        self.pace = PACES[broker]

    def settings(self, addresses: Addresses) -> dict[str, Any]:
        broker = {"redis": f"{addresses.redis}/0"} if self.broker == "redis" else {"orm": "default"}
        return {"Q_CLUSTER": {**COMMON, **broker}}

    def commands(self) -> list[list[str]]:
        return [["python", "-m", "django", "qcluster"]]

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from django_cluster.tasks import async_task

        path = f"benchmarks.tasks.{task}"
        for _ in range(count):
            async_task(path, *arguments)

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from django_cluster.tasks import async_bulk

        async_bulk(f"benchmarks.tasks.{task}", [arguments] * count)

    def schedule(self, count: int) -> None:
        from django.utils import timezone

        from django_cluster.models import Schedule

        due = timezone.now() - timedelta(seconds=1)
        once = {"func": "benchmarks.tasks.noop", "schedule_type": "O", "next_run": due, "repeats": -1}
        Schedule.objects.bulk_create([Schedule(name=f"bench {number}", **once) for number in range(count)])

    def settled(self, count: int) -> bool:
        from django_cluster.client.client import get_client
        from django_cluster.models import Task

        return get_client().broker.size().total == 0 and Task.objects.filter(success=True).count() >= count


class DjangoClusterTasks(DjangoCluster):
    """A project whose tasks are those of Django's framework: each has a row from the moment that it is sent."""

    has_async = False
    has_schedules = False

    def __init__(self, broker: str) -> None:
        super().__init__(broker)
        self.name = f"django_cluster/tasks-{broker}"
        self.pace = TASK_PACES[broker]

    def settings(self, addresses: Addresses) -> dict[str, Any]:
        return {**super().settings(addresses), "TASKS": {"default": {"BACKEND": BACKEND}}}

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.framework import TASKS

        call = TASKS[task]
        for _ in range(count):
            call.enqueue(*arguments)

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.framework import TASKS

        call = TASKS[task]
        call.get_backend().enqueue_many([(call, arguments, {})] * count)

    def settled(self, count: int) -> bool:
        from django_cluster.client.client import get_client
        from django_cluster.models import TrackedTask

        ended = TrackedTask.objects.filter(status="success").count()
        return get_client().broker.size().total == 0 and ended >= count
