"""Whether the tasks of a project are run: facts of clusters, queues and schedules, as sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_cluster import control
from django_cluster.errors import ClusterError
from django_cluster.models import Schedule
from django_cluster.service.figures import queue_sizes, throughput_of
from django_cluster.service.rows import database, read

LATE = timedelta(minutes=1)
"""A schedule that is overdue by more than this is late."""


def health_report(all_queues: Callable[[], Sequence[str]], max_latency: float | None) -> dict[str, Any]:
    """What ``TaskService.health`` returns. Raises nothing."""
    try:
        bad, poor = _look_at_clusters(all_queues(), max_latency)
    except ClusterError as error:
        bad, poor = [str(error)], []
    status = "unhealthy" if bad else "degraded" if poor else "healthy"
    return {"status": status, "reasons": [*bad, *poor]}


def _look_at_clusters(queues: Sequence[str], max_latency: float | None) -> tuple[list[str], list[str]]:
    seen = control.clusters(dead=True)
    alive = [each for each in seen if each.alive]
    paused = {pause.queue for pause in control.paused()}
    bad = [] if any(each.workers for each in alive) else ["No worker is running."]
    poor = [f"Queue {name} is paused." for name in sorted(paused)]
    poor += [f"A cluster on {each.host} was lost {each.age:.0f} s ago." for each in seen if not each.alive]
    for name in queues:
        try:
            waits = sum(queue_sizes(name))
        except ClusterError as error:
            bad.append(f"Queue {name}: {error}")
            continue
        if waits and alive and not any(name in each.queues for each in alive):
            poor.append(f"{waits} tasks wait in queue {name}, on which no cluster works.")
    latency = throughput_of(alive)["latency"]
    if max_latency is not None and latency is not None and latency > max_latency:
        poor.append(f"Tasks wait for {latency:.1f} s.")
    late = Schedule.objects.using(database()).filter(enabled=True, next_run__lt=timezone.now() - LATE, last_error="")
    if count := read(late.exclude(repeats=0).count):
        poor.append(f"{count} schedules are late.")
    return bad, poor
