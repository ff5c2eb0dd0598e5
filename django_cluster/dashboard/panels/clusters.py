"""The tab *Clusters*: clusters, their processes, and running tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from django_cluster.dashboard.charts import gauge
from django_cluster.dashboard.snapshot import Snapshot
from django_cluster.dashboard.state_labels import cluster_state
from django_cluster.dashboard.tables import Column, Table, TableRow
from django_cluster.dashboard.text import duration, megabytes, progress_text
from django_cluster.stores.status import ClusterStatus, ProcessStatus

COLUMNS = (
    Column("NAME", 12),
    Column("PID", 7, right=True),
    Column("STATE", 13),
    Column("TASK"),
    Column("TIME", 11, right=True),
    Column("LIMIT", 6, least=90),
    Column("CPU%", 4, right=True),
    Column("MEM", 5, right=True),
    Column("DONE", 6, right=True, least=90),
)
NEARLY = 0.8
"""Share of its time limit from which a running task is highlighted."""
NO_CLUSTER_TEXT = "No cluster is running. Start one: manage.py qcluster"


def table(snapshot: Snapshot, ascii_only: bool) -> Table:
    return Table(COLUMNS, tuple(_rows(snapshot, ascii_only)), NO_CLUSTER_TEXT)


def _rows(snapshot: Snapshot, ascii_only: bool) -> Iterator[TableRow]:
    for cluster in snapshot.clusters:
        yield _cluster(cluster)
        if cluster.alive:
            shown = [process for process in cluster.processes if process.role != "sentinel"]
            for place, process in enumerate(shown):
                yield _process(cluster, process, snapshot.taken_at, ascii_only, last=place == len(shown) - 1)
        else:
            for place, worker in enumerate(cluster.running):
                row = _process(
                    cluster, worker, cluster.published_at, ascii_only, last=place == len(cluster.running) - 1
                )
                # A worker of a lost cluster: it cannot be restarted, and its CPU and memory are outdated.
                cells = (*row.cells[:2], "lost", *row.cells[3:])
                yield replace(row, key=f"lost:{cluster.id}:{worker.incarnation}", cells=cells, style="dim", styles={})


def _cluster(cluster: ClusterStatus) -> TableRow:
    state = cluster_state(cluster)
    busy = sum(1 for worker in cluster.workers if worker.task)
    # The changing part comes first: on a narrow screen the end is cut off.
    said = f"{busy} of {len(cluster.workers)} busy"
    if cluster.alive and cluster.restarts:
        said += f", {cluster.restarts} restarts"
    said += f": {','.join(cluster.queues)} on {cluster.host}"
    if not cluster.alive:
        said = f"{duration(cluster.age)} ago on {cluster.host}: {','.join(cluster.queues)}"
    rss = sum(process.rss for process in cluster.processes)
    cpu = sum(process.cpu for process in cluster.processes)
    done = cluster.throughput.done + cluster.throughput.failed
    return TableRow(
        key=f"cluster:{cluster.id}",
        cells=(
            cluster.name, str(cluster.pid), state.plain, said, duration(cluster.uptime), "", f"{cpu:.0f}",
            megabytes(rss), str(done),
        ),
        order=(cluster.name, cluster.pid, state.plain, said, cluster.uptime, 0.0, cpu, rss, done),
        style="title" if cluster.alive else "dim",
        styles={2: state.style},
        more={"host": cluster.host, "id": cluster.id, "queue": ",".join(cluster.queues)},
    )  # fmt: skip


def _time(elapsed: float, limit: float | None) -> str:
    """Elapsed time and limit: ``42s/1m30``."""
    return f"{duration(elapsed)}/{duration(limit)}" if limit else duration(elapsed)


def _process(cluster: ClusterStatus, process: ProcessStatus, now: float, ascii_only: bool, *, last: bool) -> TableRow:
    branch = ("`- " if last else "|- ") if ascii_only else ("└─ " if last else "├─ ")
    task, elapsed, share = process.task, 0.0, 0.0
    if task is not None:
        elapsed = max(0.0, now - task.started)
        share = elapsed / task.limit if task.limit else 0.0
    warning = "bad" if share >= 1 else "warn" if share >= NEARLY else ""
    return TableRow(
        key=f"worker:{cluster.id}:{process.incarnation}" if process.role == "worker" else f"process:{process.pid}",
        cells=(
            branch + process.name,
            str(process.pid),
            process.state,
            f"{task.func} {progress_text(task.progress) or task.name}" if task else "",
            _time(elapsed, task.limit) if task else "",
            gauge(share, 6, ascii_only=ascii_only) if task and task.limit else "",
            f"{process.cpu:.0f}",
            megabytes(process.rss),
            str(process.done) if process.role == "worker" else "",
        ),
        order=(
            process.name, process.pid, process.state, task.func if task else "", elapsed, share, process.cpu,
            process.rss, process.done,
        ),
        style="" if task or process.role != "worker" else "dim",
        styles={2: "good", 4: warning, 5: warning} if task else {},
        more={
            "about": f"{process.name} of {cluster.name} ({process.pid})",
            "host": cluster.host,
            "id": task.id if task else "",
            "queue": ",".join(cluster.queues),
        },
    )  # fmt: skip
