"""Queues: how much waits, who works on it, who has paused it."""

from __future__ import annotations

from django_cluster.dashboard.snapshot import QueueView, Snapshot
from django_cluster.dashboard.tables import Column, Row, Table
from django_cluster.dashboard.text import amount, duration

COLUMNS = (
    Column("QUEUE"),
    Column("BROKER", 8, least=90),
    Column("READY", 7, right=True),
    Column("LEASED", 7, right=True),
    Column("DELAYED", 7, right=True),
    Column("CLUSTERS", 8, right=True, least=80),
    Column("WORKERS", 7, right=True, least=80),
    Column("STATE", 22),
)


def table(snapshot: Snapshot, ascii_only: bool = False) -> Table:
    return Table(COLUMNS, tuple(_row(snapshot, queue) for queue in snapshot.queues), "No queue is known.")


def _row(snapshot: Snapshot, queue: QueueView) -> Row:
    serving = [cluster for cluster in snapshot.alive if queue.name in cluster.queues]
    workers = sum(len(cluster.workers) for cluster in serving)
    state, style = state_of(snapshot, queue)
    sizes = ["?" if queue.problem else amount(size) for size in (queue.ready, queue.leased, queue.delayed)]
    return Row(
        key=f"queue:{queue.name}",
        cells=(queue.name, queue.broker, *sizes, str(len(serving)), str(workers), state),
        order=(
            queue.name, queue.broker, queue.ready, queue.leased, queue.delayed, len(serving), workers, state,
        ),
        styles={7: style, 2: "warn" if queue.ready and not serving else ""},
    )  # fmt: skip


def state_of(snapshot: Snapshot, queue: QueueView) -> tuple[str, str]:
    """In words, and their style."""
    if queue.problem:
        return "cannot be asked", "bad"
    if pause := snapshot.paused(queue.name):
        by = f" by {pause.by}" if pause.by else ""
        return f"paused {duration(pause.age)}{by}", "warn"
    if not any(queue.name in cluster.queues for cluster in snapshot.alive):
        return ("no cluster", "bad") if queue.ready or queue.leased else ("no cluster", "dim")
    return "served", "good"
