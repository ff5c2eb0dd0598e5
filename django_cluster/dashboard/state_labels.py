"""States of clusters, queues and schedules in words, shared by the admin, ``qmonitor`` and ``qinfo``.

All functions are pure. Terminals print ``StateLabel.plain``; the admin translates ``StateLabel.text`` and fills in the
values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext_noop

from django_cluster.stores.operator_commands import QueuePause
from django_cluster.stores.status import ClusterStatus

LATE_SECONDS = 60.0
"""Seconds after which a due schedule that has not been sent is late."""


class StateLabel(NamedTuple):
    """A state in words."""

    text: str
    """An English text with ``%(name)s`` placeholders; the catalogues of the admin have it."""
    style: str
    """``good``, ``warn``, ``bad`` or ``dim``."""
    values: Mapping[str, Any] = {}

    @property
    def plain(self) -> str:
        """The state in English."""
        return self.text % self.values


CLUSTER_STATES = {
    "starting": gettext_noop("starting"),
    "running": gettext_noop("running"),
    "stopping": gettext_noop("stopping"),
}
PAUSED, PAUSED_IN_PART = gettext_noop("paused"), gettext_noop("paused %(paused)d of %(queues)d")
LOST = gettext_noop("lost")


def cluster_state(cluster: ClusterStatus) -> StateLabel:
    """The state of one cluster; from how many of its queues it takes nothing, if it takes nothing from some."""
    if not cluster.alive:
        return StateLabel(LOST, "bad")
    paused = len(set(cluster.paused) & set(cluster.queues))
    if paused and paused == len(cluster.queues):
        return StateLabel(PAUSED, "warn")
    if paused:
        return StateLabel(PAUSED_IN_PART, "warn", {"paused": paused, "queues": len(cluster.queues)})
    return StateLabel(
        CLUSTER_STATES.get(cluster.state, cluster.state), "good" if cluster.state == "running" else "warn"
    )


UNREACHABLE, NO_CLUSTER = gettext_noop("unavailable"), gettext_noop("no cluster")
PAUSED_SINCE, PAUSED_BY = gettext_noop("paused %(time)s"), gettext_noop("paused %(time)s by %(by)s")
ONE_WORKER, WORKERS = gettext_noop("ok, 1 worker"), gettext_noop("ok, %(workers)d workers")


def queue_state(
    name: str, clusters: Iterable[ClusterStatus], pause: QueuePause | None, *, waits: bool, away: bool
) -> StateLabel:
    """The state of one queue.

    ``clusters``: all clusters, of which those count that are alive and work on this queue. ``pause``: the order to
    take nothing from it, if there is one. ``waits``: whether there are messages. ``away``: whether its broker does
    not answer.
    """
    if away:
        return StateLabel(UNREACHABLE, "bad")
    if pause:
        values = {"time": about(pause.age), "by": pause.by}
        return StateLabel(PAUSED_BY if pause.by else PAUSED_SINCE, "warn", values)
    serving = [each for each in clusters if each.alive and name in each.queues]
    if not serving:
        return StateLabel(NO_CLUSTER, "bad" if waits else "dim")
    workers = sum(len(each.workers) for each in serving)
    return StateLabel(ONE_WORKER if workers == 1 else WORKERS, "good", {"workers": workers})


CANNOT_RUN, OFF, FINISHED = gettext_noop("cannot run"), gettext_noop("off"), gettext_noop("finished")
ON, LATE = gettext_noop("on"), gettext_noop("late %(time)s")


def schedule_state(*, enabled: bool, repeats: int, until_next_run: float | None, error: str) -> StateLabel:
    """The state of one schedule.

    ``until_next_run``: seconds, negative when the next run is overdue; None where there is no next run. A schedule
    that is overdue by more than a minute is late.
    """
    if error:
        return StateLabel(CANNOT_RUN, "bad")
    if not enabled:
        return StateLabel(OFF, "dim")
    if repeats == 0 or until_next_run is None:
        return StateLabel(FINISHED, "dim")
    if until_next_run < -LATE_SECONDS:
        return StateLabel(LATE, "warn", {"time": about(-until_next_run)})
    return StateLabel(ON, "good")


def about(seconds: float) -> str:
    """A duration in one unit, rounded down: ``5 s``, ``14 min``, ``3 h``, ``12 d``."""
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def count(number: int, *, more: bool = False) -> str:
    """A count with thousands separators; with ``more`` it was bounded, and there may be more: ``100,000+``."""
    return f"{number:,}{'+' if more else ''}"


def total(known: Sequence[int], *, unknown: int) -> str:
    """The sum of what could be counted: ``?`` where nothing could be, ``12+`` where something could not."""
    if unknown and not known:
        return "?"
    return count(sum(known), more=bool(unknown))
