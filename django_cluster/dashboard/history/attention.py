"""What needs attention, in sentences: a pure function of facts.

Texts are English with ``%(name)s`` placeholders; the catalogues of the admin have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.utils.translation import gettext_noop

from django_cluster.dashboard.state_labels import about, count

SLOW_FACTOR = 3.0
"""The oldest wait is unusual when it is this many times the usual one, …"""
SLOW_SECONDS = 60.0
"""… and at least this long."""
MANY_FAILURES = 10
"""Failures of a window from which on a share of them is worth a sentence."""
HIGH_SHARE = 0.1
"""The share of failures that is worth a sentence."""
NEAR_LIMIT = 0.8
"""The share of its time limit from which a running task is worth a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFact:
    """One queue now. ``oldest``, ``usual_wait``: seconds; None where they are not known."""

    name: str
    ready: int = 0
    oldest: float | None = None
    usual_wait: float | None = None
    workers: int = 0
    paused_seconds: float | None = None
    paused_by: str = ""
    is_away: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingFacts:
    """What is known of a project at one moment."""

    queues: tuple[QueueFact, ...] = ()
    clusters: int = 0
    """Clusters that are alive."""
    lost: tuple[tuple[str, float], ...] = ()
    """Host of each lost cluster, and for how many seconds it has been silent."""
    near_limit: tuple[str, ...] = ()
    """Functions of running tasks that have used most of their time limit."""
    late_schedules: int = 0
    broken_schedules: int = 0
    runs: int = 0
    failed: int = 0
    dead: int = 0


class Sentence(NamedTuple):
    """One thing that needs attention."""

    text: str
    style: str
    """``bad`` or ``warn``."""
    page: str
    """Where it can be looked at: ``queue``, ``clusters``, ``schedules``, ``failures``, ``dead``."""
    values: Mapping[str, Any] = {}

    @property
    def plain(self) -> str:
        """The sentence in English."""
        return self.text % self.values


AWAY = gettext_noop("The broker of the queue %(queue)s does not answer.")
PAUSED = gettext_noop("The queue %(queue)s has been paused for %(time)s; waiting: %(count)s.")
UNSERVED = gettext_noop("No cluster works on the queue %(queue)s; waiting: %(count)s.")
UNSERVED_SINCE = gettext_noop("No cluster works on the queue %(queue)s; waiting: %(count)s, the oldest for %(time)s.")
SLOW = gettext_noop("In the queue %(queue)s a task waits for %(time)s, usually %(usual)s at most; waiting: %(count)s.")
NO_CLUSTER = gettext_noop("No cluster is running.")
LOST = gettext_noop("A cluster on %(host)s has been silent for %(time)s.")
NEAR = gettext_noop("A task of %(func)s has nearly reached its time limit.")
LATE = gettext_noop("Schedules that are late: %(count)s")
BROKEN = gettext_noop("Schedules that cannot run: %(count)s")
FAILING = gettext_noop("%(share)s of all runs have failed: %(count)s")
DEAD = gettext_noop("Tasks that are dead, because their workers died: %(count)s")


def attention(facts: OperatingFacts) -> tuple[Sentence, ...]:
    """What needs attention, the worst first."""
    return tuple(sorted(_sentences(facts), key=lambda each: each.style))  # "bad" precedes "warn"


def _sentences(facts: OperatingFacts) -> Iterator[Sentence]:
    if not facts.clusters:
        yield Sentence(NO_CLUSTER, "bad", "clusters")
    for queue in facts.queues:
        yield from _of_queue(queue)
    for host, silent in facts.lost:
        yield Sentence(LOST, "bad", "clusters", {"host": host, "time": about(silent)})
    if facts.dead:
        yield Sentence(DEAD, "bad", "dead", {"count": count(facts.dead)})
    if facts.failed >= MANY_FAILURES and facts.failed >= HIGH_SHARE * facts.runs:
        share = f"{100 * facts.failed / facts.runs:.0f} %"
        yield Sentence(FAILING, "warn", "failures", {"share": share, "count": count(facts.failed)})
    if facts.broken_schedules:
        yield Sentence(BROKEN, "bad", "schedules", {"count": count(facts.broken_schedules)})
    if facts.late_schedules:
        yield Sentence(LATE, "warn", "schedules", {"count": count(facts.late_schedules)})
    for func in facts.near_limit:
        yield Sentence(NEAR, "warn", "clusters", {"func": func})


def _of_queue(queue: QueueFact) -> Iterator[Sentence]:
    values = {"queue": queue.name, "count": count(queue.ready)}
    if queue.oldest is not None:
        values["time"] = about(queue.oldest)
    if queue.is_away:
        yield Sentence(AWAY, "bad", "queue", values)
    elif not queue.ready:
        return
    elif queue.paused_seconds is not None:
        yield Sentence(PAUSED, "warn", "queue", {**values, "time": about(queue.paused_seconds)})
    elif not queue.workers:
        yield Sentence(UNSERVED if queue.oldest is None else UNSERVED_SINCE, "bad", "queue", values)
    elif queue.oldest is not None and queue.usual_wait is not None and _is_slow(queue.oldest, queue.usual_wait):
        yield Sentence(SLOW, "warn", "queue", {**values, "usual": about(queue.usual_wait)})


def _is_slow(oldest: float, usual: float) -> bool:
    return oldest >= SLOW_SECONDS and oldest > SLOW_FACTOR * usual
