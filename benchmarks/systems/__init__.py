"""All systems under test, by name, in the order of the tables."""

from __future__ import annotations

from benchmarks.systems.base import System
from benchmarks.systems.celery import Celery
from benchmarks.systems.django_cluster import DjangoCluster, DjangoClusterTasks
from benchmarks.systems.django_ox import DjangoOx
from benchmarks.systems.django_q2 import DjangoQ2
from benchmarks.systems.django_tasks_db import DjangoTasksDb
from benchmarks.systems.dramatiq import Dramatiq
from benchmarks.systems.huey import Huey
from benchmarks.systems.pgqueuer import PgQueuer
from benchmarks.systems.procrastinate import Procrastinate
from benchmarks.systems.rq import Rq
from benchmarks.systems.taskiq import Taskiq

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        DjangoCluster("redis"),
        DjangoCluster("orm-pg"),
        DjangoCluster("orm-sqlite"),
        DjangoClusterTasks("redis"),
        DjangoClusterTasks("orm-pg"),
        DjangoQ2("redis"),
        DjangoQ2("orm-pg"),
        DjangoQ2("orm-sqlite"),
        Huey(),
        Taskiq(),
        Procrastinate(),
        PgQueuer(),
        Celery(),
        Rq("worker"),
        Rq("simpleworker"),
        Dramatiq(),
        DjangoTasksDb("pg"),
        DjangoTasksDb("sqlite"),
        DjangoOx(),
    )
}
