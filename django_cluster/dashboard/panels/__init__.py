"""The tabs of ``qmonitor``: pure functions of a snapshot, and the parts of it that each tab needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django_cluster.dashboard.panels import clusters, failures, queues, schedules, tasks
from django_cluster.dashboard.snapshot import Snapshot
from django_cluster.dashboard.tables import Table


@dataclass(frozen=True, slots=True)
class Tab:
    title: str
    parts: tuple[str, ...]
    """Parts of the snapshot that are refreshed while the tab is shown."""
    table: Callable[[Snapshot, bool], Table] | None
    """``table(snapshot, ascii_only)``; None for the overview, which is no table."""


TABS = (
    Tab("Overview", ("clusters", "queues", "failures"), None),
    Tab("Clusters", ("clusters",), clusters.table),
    Tab("Queues", ("clusters", "queues"), queues.table),
    Tab("Tasks", ("clusters", "queues", "waiting", "ended", "failures"), tasks.table),
    Tab("Failures", ("clusters", "failures"), failures.table),
    Tab("Schedules", ("clusters", "schedules"), schedules.table),
)
