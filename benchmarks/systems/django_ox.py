"""django-ox, another database backend of Django's own tasks: a supervisor with two workers. Needs Python 3.12."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.systems.base import ROW, RUN_AGAIN, Addresses, Durability, System


class DjangoOx(System):
    name = "django-ox/pg"
    home = "django-ox"
    requirements: ClassVar = ["django-ox"]
    distribution = "django-ox"
    apps: ClassVar = ["django_ox"]
    durability = Durability(RUN_AGAIN, ROW)
    pace = 500
    has_bulk = True

    def settings(self, addresses: Addresses) -> dict[str, Any]:
        return {"TASKS": {"default": {"BACKEND": "django_ox.backend.OxBackend"}}}

    def commands(self) -> list[list[str]]:
        return [["python", "-m", "django", "ox_worker", "--processes", "2"]]

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.framework import TASKS

        call = TASKS[task]
        for _ in range(count):
            call.enqueue(*arguments)

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from django_ox.bulk import enqueue_many  # type: ignore[import-not-found, unused-ignore]

        from benchmarks.apps.framework import TASKS

        enqueue_many(TASKS[task], [(arguments, {})] * count)

    def settled(self, count: int) -> bool:
        from django_ox.models import OxTask  # type: ignore[import-not-found, unused-ignore]

        return bool(OxTask.objects.filter(status="SUCCESSFUL").count() >= count)
