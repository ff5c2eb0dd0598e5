"""A small world to look at, the same for every test of the dashboard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django_cluster.dashboard.layout import Canvas, Scene, render
from django_cluster.dashboard.report import as_text
from django_cluster.dashboard.snapshot import QueueView, ScheduleView, Snapshot, TaskView, Totals
from django_cluster.dashboard.state import ScreenState
from django_cluster.stores.operator_commands import QueuePause
from django_cluster.stores.status import ClusterStatus, ProcessStatus, RunningTask, Throughput, ThroughputSlice

NOW = 1_700_000_000.0

BUSY = ProcessStatus(
    role="worker",
    index=0,
    incarnation=3,
    pid=103,
    state="busy",
    done=41,
    rss=60 * 1024,
    cpu=97.0,
    task=RunningTask(id="a" * 32, name="ten-green-bottles", func="shop.tasks.sing", started=NOW - 55, limit=60.0),
)
CLUSTER = ClusterStatus(
    id="8c1d7a9e-0000-4000-8000-000000000001",
    name="shop",
    queues=("default",),
    host="web-1",
    pid=100,
    state="running",
    started_at=NOW - 3600,
    published_at=NOW - 1,
    interval=2.0,
    restarts=2,
    versions={"django_cluster": "0.1.0"},
    memory_total=8 * 1024 * 1024,
    memory_free=2 * 1024 * 1024,
    processes=(
        ProcessStatus(role="sentinel", pid=100, state="running", rss=40 * 1024),
        ProcessStatus(role="monitor", incarnation=1, pid=101, state="idle", rss=50 * 1024),
        ProcessStatus(role="pusher", incarnation=2, pid=102, state="idle", rss=48 * 1024),
        BUSY,
        ProcessStatus(role="worker", index=1, incarnation=4, pid=104, state="idle", done=7, rss=58 * 1024),
    ),
    throughput=Throughput(
        done=48,
        failed=2,
        slices=tuple(
            ThroughputSlice(
                number=int(NOW) // 5 - 60 + place, done=place, failed=int(place == 50),
                wait_median=0.01, wait_high=0.1 * (place % 10), run_median=0.02, run_high=0.5,
            )
            for place in range(60)
        ),
    ),
    age=1.0,
)  # fmt: skip
LOST = replace(
    CLUSTER, id="8c1d7a9e-0000-4000-8000-000000000002", name="old", host="web-2", age=300.0, queues=("mail",)
)


def ended(id: str, **changes: Any) -> TaskView:
    fields: dict[str, Any] = {
        "id": id * 32, "name": f"task-{id}", "func": "shop.tasks.add", "queue": "default", "state": "success",
        "attempts": 1, "moment": NOW - 10, "wait": 0.012, "run": 0.5,
    }  # fmt: skip
    return TaskView(**{**fields, **changes})


FAILURE = ended("f", func="shop.mail.send", state="failure", error="ConnectionError: no route to host", moment=NOW - 90)
DEAD = ended("d", func="shop.video.cut", state="dead", attempts=3, error="signal: 9", moment=NOW - 4000, group="films")
RETRIED = replace(FAILURE, id="e" * 32, name="task-e", final=False, moment=NOW - 30)

SNAPSHOT = Snapshot(
    taken_at=NOW,
    label="shop",
    clusters=(CLUSTER, LOST),
    pauses=(QueuePause("mail", "Ada", 125.0),),
    queues=(
        QueueView(name="default", broker="orm", ready=1234, leased=1, delayed=5),
        QueueView(name="mail", broker="redis", ready=7),
    ),
    waiting=(
        TaskView(
            id="1" * 32, name="task-1", func="shop.tasks.add", queue="default", state="ready", attempts=0,
            moment=NOW - 2, key="17",
        ),
        TaskView(
            id="2" * 32, name="task-2", func="shop.tasks.add", queue="default", state="delayed", attempts=1,
            moment=NOW - 60, due=NOW + 90, key="18",
        ),
        TaskView(
            id="a" * 32, name="ten-green-bottles", func="shop.tasks.sing", queue="default", state="leased",
            attempts=1, moment=NOW - 57, key="19",
        ),
    ),
    ended=(ended("9"), ended("8", moment=NOW - 11)),
    failures=(RETRIED, FAILURE, DEAD),
    schedules=(
        ScheduleView(
            id=1, name="report", func="shop.tasks.report", rule="Daily", queue="", next_run=NOW + 3600, repeats=-1,
            enabled=True,
        ),
        ScheduleView(
            id=2, name="ping", func="shop.tasks.ping", rule="*/5 * * * *", queue="mail", next_run=NOW - 600,
            repeats=3, enabled=True,
        ),
        ScheduleView(
            id=3, name="broken", func="shop.gone", rule="Hourly", queue="", next_run=NOW - 5, repeats=-1,
            enabled=True, error="There is no function shop.gone.",
        ),
    ),
    totals=Totals(successes=100_000, failures=3, schedules=3, limit=100_000),
)  # fmt: skip


def scene(**changes: Any) -> Scene:
    """The world, and a state of it: ``scene(tab=3, query="mail")``."""
    snapshot = changes.pop("snapshot", SNAPSHOT)
    detail, now = changes.pop("detail", None), changes.pop("now", NOW + 1)
    return Scene(snapshot=snapshot, state=ScreenState(**changes), now=now, detail=detail)


def drawn(given: Scene, **canvas: Any) -> str:
    """The screen as text."""
    return as_text(render(given, Canvas(**canvas)))
