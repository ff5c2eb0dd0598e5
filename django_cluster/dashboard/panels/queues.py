"""The tab *Queues*: sizes, clusters and workers, pauses."""

from __future__ import annotations

from django_cluster.dashboard.snapshot import QueueView, Snapshot
from django_cluster.dashboard.state_labels import StateLabel, queue_state
from django_cluster.dashboard.tables import Column, Table, TableRow
from django_cluster.dashboard.text import amount

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


def _row(snapshot: Snapshot, queue: QueueView) -> TableRow:
    serving = [cluster for cluster in snapshot.alive if queue.name in cluster.queues]
    workers = sum(len(cluster.workers) for cluster in serving)
    state = state_of(snapshot, queue)
    sizes = ["?" if queue.problem else amount(size) for size in (queue.ready, queue.leased, queue.delayed)]
    return TableRow(
        key=f"queue:{queue.name}",
        cells=(queue.name, queue.broker, *sizes, str(len(serving)), str(workers), state.plain),
        order=(
            queue.name, queue.broker, queue.ready, queue.leased, queue.delayed, len(serving), workers, state.plain,
        ),
        styles={7: state.style, 2: "warn" if queue.ready and not serving else ""},
    )  # fmt: skip


def state_of(snapshot: Snapshot, queue: QueueView) -> StateLabel:
    waits = bool(queue.ready or queue.leased)
    pause = snapshot.paused(queue.name)
    return queue_state(queue.name, snapshot.clusters, pause, waits=waits, away=bool(queue.problem))
