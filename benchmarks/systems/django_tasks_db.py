"""django-tasks-db, the database backend of Django's own tasks: two workers."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.systems.base import ROW, Addresses, Durability, System

PACES = {"pg": 500, "sqlite": 600}


class DjangoTasksDb(System):
    home = "django-tasks-db"
    requirements: ClassVar = ["django-tasks-db"]
    distribution = "django-tasks-db"
    apps: ClassVar = ["django_tasks_db"]
    durability = Durability("RUNNING for ever", ROW)

    def __init__(self, database: str) -> None:
        self.name = f"django-tasks-db/{database}"
        self.database = "sqlite" if database == "sqlite" else "postgres"
        self.pace = PACES[database]

    def settings(self, addresses: Addresses) -> dict[str, Any]:
        return {"TASKS": {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}}

    def commands(self) -> list[list[str]]:
        command = ["python", "-m", "django", "db_worker", "--no-startup-delay"]
        return [command, command]

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.framework import TASKS

        call = TASKS[task]
        for _ in range(count):
            call.enqueue(*arguments)

    def settled(self, count: int) -> bool:
        from django_tasks_db.models import DBTaskResult  # type: ignore[import-not-found, unused-ignore]

        return bool(DBTaskResult.objects.filter(status="SUCCESSFUL").count() >= count)
