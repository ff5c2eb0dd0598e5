"""procrastinate: two worker processes of ten coroutines."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.systems.base import Durability, System

STALLED = "stays in doing"


class Procrastinate(System):
    name = "procrastinate/pg"
    home = "procrastinate"
    requirements: ClassVar = ["procrastinate"]
    distribution = "procrastinate"
    durability = Durability(f"{STALLED}, until retried by hand or by a task of one's own", "status row, no value")
    pace = 500
    has_bulk = True

    def commands(self) -> list[list[str]]:
        command = ["procrastinate", "--app=benchmarks.apps.procrastinate.app", "worker", "--concurrency=10"]
        return [command, command]

    def install(self) -> None:
        super().install()
        from benchmarks.apps.procrastinate import app

        with app.open():
            app.schema_manager.apply_schema()

    def prepare(self) -> None:
        from benchmarks.apps.procrastinate import app

        app.open()

    def send(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.procrastinate import app

        call, keywords = app.tasks[task], keywords_of(arguments)
        for _ in range(count):
            call.defer(**keywords)

    def send_bulk(self, task: str, arguments: tuple[Any, ...], count: int) -> None:
        from benchmarks.apps.procrastinate import app

        app.tasks[task].batch_defer(*[keywords_of(arguments)] * count)

    def settled(self, count: int) -> bool:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")
            return bool(cursor.fetchone()[0] >= count)


def keywords_of(arguments: tuple[Any, ...]) -> dict[str, Any]:
    """It takes keywords only."""
    return {"text": arguments[0]} if arguments else {}
