"""What happens in a test to tasks that are sent: they are kept, run inline, or run by a cluster of processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from django.test import override_settings

from django_cluster.brokers import memory
from django_cluster.conf import configured
from django_cluster.core.settings.brokers import SELECTORS
from django_cluster.testing.cluster import ClusterUnderTest, running_cluster
from django_cluster.testing.inspection import forget_enqueued

CLUSTER_SETTINGS = {"sync": False, "scheduler": False, "start_method": "fork", "poll": 0.05}
"""No scheduler: ``run_schedules`` fires them, by a clock of its own. A fork keeps the names of the test databases."""
MOST_WORKERS = 2


class TaskMode(StrEnum):
    """What happens in a test to tasks that are sent."""

    KEPT = "kept"
    """Tasks are kept in the memory of the test process, until ``run_pending`` runs them. No server is needed."""
    QUEUED = "queued"
    """Tasks are kept in the broker of the project, whose queues have names of their own while tests run."""
    INLINE = "inline"
    """Each task runs when it is sent, in the caller's transaction, and its failure is raised there. Needs no server."""
    CLUSTER = "cluster"
    """A cluster of processes runs the tasks; ``run_pending`` waits for it. For tests that commit."""


@contextmanager
def task_mode(mode: TaskMode | str) -> Iterator[ClusterUnderTest | None]:
    """Have tasks treated in this way inside the block; the cluster, if there is one.

    Raises ``ValueError`` for a mode that does not exist.
    """
    mode = TaskMode(mode)
    with override_settings(Q_CLUSTER=settings_for(mode, configured())):
        memory.reset()
        if mode in (TaskMode.QUEUED, TaskMode.CLUSTER):
            forget_enqueued()
        if mode is TaskMode.CLUSTER:
            with running_cluster() as cluster:
                yield cluster
        else:
            yield None


def settings_for(mode: TaskMode, written: Mapping[str, Any]) -> dict[str, Any]:
    """``Q_CLUSTER`` for tests in this mode. ``written``: as the project has written it."""
    if mode is TaskMode.QUEUED:
        return _everywhere(written, {"sync": False})
    if mode is TaskMode.CLUSTER:
        workers = written.get("workers") or MOST_WORKERS
        return {**_everywhere(written, {"sync": False}), **CLUSTER_SETTINGS, "workers": min(workers, MOST_WORKERS)}
    return _everywhere(_in_memory(written), {"sync": mode is TaskMode.INLINE, "broker": "memory"})


def _everywhere(written: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with these changes, in the sections of other queues, too."""
    found = {**written, **changes}
    if isinstance(others := written.get("ALT_CLUSTERS"), Mapping):
        found["ALT_CLUSTERS"] = {name: {**section, **changes} for name, section in others.items()}
    return found


def _in_memory(written: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without any server; the names of brokers and queues are the same."""
    kept = _without_broker(written)
    if isinstance(named := written.get("brokers"), Mapping):
        kept["brokers"] = {alias: {"broker": "memory"} for alias in named}
    if isinstance(others := written.get("ALT_CLUSTERS"), Mapping):
        kept["ALT_CLUSTERS"] = {name: _without_broker(section) for name, section in others.items()}
    return kept


def _without_broker(section: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in SELECTORS and name != "broker"}
