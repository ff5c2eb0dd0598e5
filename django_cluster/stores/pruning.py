"""Which rows need not be kept any longer, and their deletion: in portions, and never for one task at a time.

Three limits hold, and whichever forgets first does: ``save_limit`` counts successes, ``save_limit_failures`` failures
that are final, ``retention_days`` looks at the age of every kind of ending. A task that will be tried again is kept
beyond its age, and the results of a group together (``group_retention.py``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from django_cluster.core.messages import Outcome
from django_cluster.core.safe_text import storable
from django_cluster.core.settings import ResultSettings
from django_cluster.core.settings.named_values import FAILED
from django_cluster.database.session import Session
from django_cluster.models import Task
from django_cluster.models.task import saved_tasks
from django_cluster.models.task_queries import ENDED_BADLY, ENDED_WELL
from django_cluster.stores.group_retention import at_work, delete_rows, needed
from django_cluster.stores.rows import SUCCESS
from django_cluster.stores.tracked import ROWS_PER_STATEMENT, TrackedTasks

BATCH_ROWS = 500
"""Rows that one statement deletes."""
MAX_PRUNE_SECONDS = 0.5
"""The monitor has other work: what one call does not drop, the next one will."""
AGE_INTERVAL_SECONDS = 60.0
"""Seconds between two looks for rows that have exceeded too old."""
POSTPONE_SECONDS = 60.0
"""Seconds until a limit is looked at again that a group, still needed, is beyond."""
MAX_RETRY_DAYS = 30.0
"""Days beyond its age for which a row that says *will be tried again* is kept: its message may have been lost."""


Exceeded = tuple[str, str | None]
"""The kind of a ``CountLimit`` that may be exceeded, and the value of ``save_limit_per`` for which it may be."""


class AgeRule(NamedTuple):
    """Rows of one kind are kept for ``days`` days."""

    kind: str
    """``success``, ``failed`` (all others that are not named), or a status."""
    days: float
    others: tuple[str, ...] = ()
    """The statuses for which something else was said."""

    @property
    def condition(self) -> Q:
        if self.kind == SUCCESS:
            return ENDED_WELL
        if self.kind == FAILED:
            return ENDED_BADLY & ~Q(status__in=self.others)
        return ENDED_BADLY & Q(status=self.kind)


def rules(retention_days: Mapping[str, float | None]) -> list[AgeRule]:
    """What ``retention_days`` means; kinds that are kept forever have no rule."""
    named = tuple(kind for kind in retention_days if kind not in (SUCCESS, FAILED))
    return [AgeRule(kind, days, named) for kind, days in retention_days.items() if days is not None]


def outdated(database: str, rule: AgeRule) -> QuerySet[Task]:
    """The rows that this rule forgets now."""
    before = timezone.now() - timedelta(days=rule.days)
    ended = Q(final=True) | Q(stopped_at__lt=before - timedelta(days=MAX_RETRY_DAYS))
    rows: QuerySet[Task] = saved_tasks(database).filter(rule.condition, ended, stopped_at__lt=before)
    return rows.exclude(at_work(database)).order_by()


def delete_in_batches(session: Session, rows: QuerySet[Task], *, retry_seconds: float = 0.0) -> Iterator[int]:
    """Delete rows in batches, each in a transaction of its own, so that locks are short; yields the size of each."""
    while ids := session.read(lambda: list(rows.values_list("pk", flat=True)[:BATCH_ROWS]), math.inf):
        yield delete_rows(session, ids, retry_seconds=retry_seconds)


class CountLimit(NamedTuple):
    """The newest ``number`` rows of one kind are kept."""

    kind: str
    """``success``, or ``failed`` for all other endings that are final."""
    number: int

    @property
    def condition(self) -> Q:
        return ENDED_WELL if self.kind == SUCCESS else ENDED_BADLY & Q(final=True)


def limits(section: ResultSettings) -> list[CountLimit]:
    """What ``save_limit`` and ``save_limit_failures`` mean; a number that is not positive limits nothing here."""
    numbers = {SUCCESS: section.save_limit, FAILED: section.save_limit_failures}
    return [CountLimit(kind, number) for kind, number in numbers.items() if number > 0]


def newest(database: str, limit: CountLimit, per: str | None, key: str | None) -> QuerySet[Task]:
    """The rows for which a limit counts: all, or those with this value of ``save_limit_per``."""
    return saved_tasks(database).filter(limit.condition, **({per: key} if per else {})).order_by("-stopped_at")


def overfull(database: str, limit: CountLimit, per: str | None) -> dict[str | None, int]:
    """How many rows each value of ``save_limit_per`` has beyond a limit, groups that are still needed left out.

    None stands for all rows. Counts the whole table, and so is nothing for the monitor.
    """
    ended = saved_tasks(database).filter(limit.condition).order_by()
    if per is None:
        counts = {None: ended.count()}
    else:
        counts = dict(ended.values_list(per).annotate(count=Count("pk")).filter(count__gt=limit.number))
    many = [key for key, count in counts.items() if count > limit.number]
    found = {key: beyond_limit(database, limit, per, key).count() for key in many}
    return {key: count for key, count in found.items() if count}


def beyond_limit(database: str, limit: CountLimit, per: str | None, key: str | None) -> QuerySet[Task]:
    """The rows that a limit forgets now, the oldest first."""
    rows = newest(database, limit, per, key)
    last_kept = list(rows.values_list("stopped_at", flat=True)[limit.number - 1 : limit.number])
    if not last_kept:
        return rows.none()
    # A group that reaches into what is kept stays whole, unless the limit is meant for each group.
    still = needed(database) if per == "group" else needed(database, last_kept[0])
    return rows.filter(stopped_at__lt=last_kept[0]).exclude(still).order_by("stopped_at")


class Deletion(NamedTuple):
    """What one deletion came to."""

    deleted: int
    postponed: bool = False
    """Whether there are rows beyond the limit whose group is still needed."""


def delete_beyond(
    session: Session, limit: CountLimit, per: str | None, key: str | None, *, retry_seconds: float = 0.0
) -> Deletion:
    """Delete one portion of what lies beyond a limit."""
    alias = session.alias
    beyond = newest(alias, limit, per, key).values_list("pk", "group")
    found = session.read(lambda: list(beyond[limit.number : limit.number + BATCH_ROWS]), math.inf)
    ids = [pk for pk, group in found if group is None]
    if len(ids) < len(found):  # some more queries, which only groups cost
        ids = session.read(
            lambda: list(beyond_limit(alias, limit, per, key).values_list("pk", flat=True)[:BATCH_ROWS]), math.inf
        )
    return Deletion(delete_rows(session, ids, retry_seconds=retry_seconds), len(ids) < len(found))


class Pruner:
    """Remembers what has exceeded since the last time, and looks at nothing else."""

    def __init__(self, session: Session, section: ResultSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._session, self._section, self._clock = session, section, clock
        self._limits = {limit.kind: limit for limit in limits(section)}
        # A predecessor may have died before it came to what is counted over all rows.
        self._exceeded: set[Exceeded] = set() if section.save_limit_per else {(kind, None) for kind in self._limits}
        self._postponed: set[Exceeded] = set()
        self._postponed_until = 0.0
        self._rules = rules(section.retention_days or {})
        self._age_at = 0.0

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes that were saved."""
        for outcome in outcomes if self._limits else ():
            if (kind := SUCCESS if outcome.status == SUCCESS else FAILED) in self._limits:
                self._exceeded.add((kind, self._key(outcome)))

    def prune(self) -> None:
        """For half a second at most; raises ``StoreUnavailable``."""
        deadline = self._clock() + MAX_PRUNE_SECONDS
        if self._postponed and self._clock() >= self._postponed_until:
            self._exceeded |= self._postponed
            self._postponed.clear()
        while self._exceeded and self._clock() < deadline:
            self._prune_key(next(iter(self._exceeded)))
        if self._clock() >= self._age_at and self._drop_old(deadline) and self._drop_tracked(deadline):
            self._age_at = self._clock() + AGE_INTERVAL_SECONDS

    def _prune_key(self, exceeded: Exceeded) -> None:
        kind, key = exceeded
        portion = delete_beyond(self._session, self._limits[kind], self._section.save_limit_per, key)
        if portion.deleted < BATCH_ROWS:
            self._exceeded.discard(exceeded)
        if portion.postponed:
            self._postponed_until = self._postponed_until if self._postponed else self._clock() + POSTPONE_SECONDS
            self._postponed.add(exceeded)

    def _drop_old(self, deadline: float) -> bool:
        """Whether nothing is left to be dropped."""
        for rule in self._rules:
            for _ in delete_in_batches(self._session, outdated(self._session.alias, rule)):
                if self._clock() >= deadline:
                    return False
        return True

    def _drop_tracked(self, deadline: float) -> bool:
        """Delete the rows of tracked tasks that are too old; whether nothing is left to be deleted."""
        days, rows = self._section.tracked_retention_days, TrackedTasks(self._session.alias)
        while days is not None and rows.prune(days) == ROWS_PER_STATEMENT:
            if self._clock() >= deadline:
                return False
        return True

    def _key(self, outcome: Outcome) -> str | None:
        """The value of ``save_limit_per`` that this row has; None stands for all rows, or for "no group"."""
        per = self._section.save_limit_per
        if per is None:
            return None
        value, limit = {
            "group": (outcome.options.get("group"), 100),
            "name": (outcome.name, 100),
            "func": (outcome.func, 256),
        }[per]
        return storable(value, limit)
