"""The tabs: each is a pure function of the snapshot, and says which parts of it have to be fresh."""

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
    """Of the snapshot, to be looked at while the tab is shown."""
    table: Callable[[Snapshot, bool], Table] | None
    """None: it is drawn in a way of its own. The flag asks for ASCII."""


TABS = (
    Tab("Overview", ("clusters", "queues", "failures"), None),
    Tab("Clusters", ("clusters",), clusters.table),
    Tab("Queues", ("clusters", "queues"), queues.table),
    Tab("Tasks", ("clusters", "queues", "waiting", "ended", "failures"), tasks.table),
    Tab("Failures", ("clusters", "failures"), failures.table),
    Tab("Schedules", ("clusters", "schedules"), schedules.table),
)
