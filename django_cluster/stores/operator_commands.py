"""What operators want of the clusters: written by people, read by each cluster with its heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import router
from django.db.models import BigIntegerField, F, Q, QuerySet, Value

from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.core.safe_text import storable
from django_cluster.database.clock import MICROSECONDS, DatabaseClock
from django_cluster.models import OperatorCommand
from django_cluster.stores.cancel_requests import CANCEL
from django_cluster.stores.session import results_session

MAX_PAUSED_TASKS = 500
"""Functions that can be paused at the same time: the scoreboard of a cluster has room for as many."""


@dataclass(frozen=True, slots=True)
class QueuePause:
    """A queue from which no cluster leases."""

    queue: str
    by: str
    age: float
    """Seconds since the queue was paused."""
    left: float | None = None
    """Seconds until the pause ends by itself; None = never."""


@dataclass(frozen=True, slots=True)
class TaskPause:
    """A function that no cluster runs."""

    func: str
    """Its dotted path."""
    by: str
    age: float
    """Seconds since the function was paused."""
    left: float | None = None
    """Seconds until the pause ends by itself; None = never."""


@dataclass(frozen=True, slots=True)
class PendingCommands:
    """What one cluster is to do."""

    paused: frozenset[str] = frozenset()
    restart: frozenset[int] = frozenset()
    """Incarnations."""
    paused_tasks: frozenset[str] = frozenset()
    """Dotted paths of functions."""
    cancels: tuple[CancelRequest, ...] = ()
    """What is to be cancelled, in every cluster."""


End = float | timedelta | None
"""When a pause ends: Unix time, or from now; None = it does not."""
LASTS = Q(until__isnull=True) | Q(until__gt=DatabaseClock())
"""Pauses that have not ended, by the clock of the database."""


def _end(until: End) -> Any:
    """The value of the column."""
    if isinstance(until, timedelta):
        return DatabaseClock() + Value(until // timedelta(microseconds=1), output_field=BigIntegerField())
    return None if until is None else int(until * MICROSECONDS)


class OperatorCommandStore:
    """Every verb raises ``StoreUnavailable`` when the database cannot be used."""

    def __init__(self, database: str | None = None) -> None:
        """``database``: alias; None asks the router."""
        self.database = database or router.db_for_write(OperatorCommand)
        self._session = results_session(self.database)

    # ── for operators ────────────────────────────────────────────────────────────────────────────

    def pause(self, queue: str, by: str = "", until: End = None) -> bool:
        """Whether it was not paused before; a pause that lasts gets the new end.

        ``until``: Unix time by the clock of the database, or a timedelta from now; None = until it is resumed.
        """
        return self._pause(OperatorCommand.PAUSE, queue, by, until)

    def pause_task(self, func: str, by: str = "", until: End = None) -> bool:
        """``pause`` for the function of this dotted path."""
        return self._pause(OperatorCommand.PAUSE_TASK, func, by, until)

    def resume_task(self, func: str) -> bool:
        """Whether it was paused."""
        return self._resume(OperatorCommand.PAUSE_TASK, func)

    def paused_tasks(self) -> list[TaskPause]:
        """The paused functions, by path."""
        return [TaskPause(*each) for each in self._pauses(OperatorCommand.PAUSE_TASK)]

    def resume(self, queue: str) -> bool:
        """Whether it was paused."""
        return self._resume(OperatorCommand.PAUSE, queue)

    def paused(self) -> list[QueuePause]:
        """The paused queues, by name."""
        return [QueuePause(*each) for each in self._pauses(OperatorCommand.PAUSE)]

    def _pauses(self, verb: str) -> list[tuple[str, str, float, float | None]]:
        now = DatabaseClock()
        rows = self._rows(verb).filter(LASTS).annotate(age=now - F("given_at"), left=F("until") - now)
        found = self._session.read(lambda: list(rows.order_by("target").values_list("target", "by", "age", "left")))
        return [
            (target, by, max(0.0, age / MICROSECONDS), None if left is None else max(0.0, left / MICROSECONDS))
            for target, by, age, left in found
        ]

    def _pause(self, verb: str, target: str, by: str, until: End) -> bool:
        def pause() -> bool:
            rows = self._rows(verb).filter(target=target)
            new = {"by": storable(by, 150) or "", "given_at": DatabaseClock(), "until": _end(until)}
            if rows.exclude(LASTS).update(**new):  # one that has ended, and was not deleted yet
                return True
            _, created = self._all().get_or_create(verb=verb, target=target, incarnation=0, defaults=new)
            if not created and (until is not None or rows.filter(until__isnull=False).exists()):
                rows.update(by=storable(by, 150) or "", until=_end(until))
            return created

        return self._session.run(pause)

    def _resume(self, verb: str, target: str) -> bool:
        def resume() -> bool:
            rows = self._rows(verb).filter(target=target)
            lasted = rows.filter(LASTS).exists()
            rows.delete()
            return lasted

        return self._session.run(resume)

    def restart(self, cluster_id: str, incarnation: int, by: str = "") -> bool:
        """Whether this was not wanted before."""
        return self._give(OperatorCommand.RESTART, cluster_id, incarnation, by)

    def _give(self, verb: str, target: str, incarnation: int, by: str) -> bool:
        def give() -> bool:
            defaults = {"by": storable(by, 150) or "", "given_at": DatabaseClock()}
            return self._all().get_or_create(verb=verb, target=target, incarnation=incarnation, defaults=defaults)[1]

        return self._session.run(give)

    # ── for clusters ─────────────────────────────────────────────────────────────────────────────

    def pending(self, cluster_id: str, queues: Sequence[str]) -> PendingCommands:
        """What this cluster is to do; one query."""
        pauses = Q(verb=OperatorCommand.PAUSE, target__in=queues) & LASTS
        pauses |= Q(verb=OperatorCommand.PAUSE_TASK) & LASTS
        mine = self._all().filter(pauses | CANCEL | Q(verb=OperatorCommand.RESTART, target=cluster_id))
        columns = ("verb", "target", "incarnation", "given_at", "by")
        found = self._session.read(lambda: list(mine.values_list(*columns)))
        return PendingCommands(
            frozenset(target for verb, target, *_ in found if verb == OperatorCommand.PAUSE),
            frozenset(incarnation for verb, _, incarnation, *_ in found if verb == OperatorCommand.RESTART),
            frozenset(target for verb, target, *_ in found if verb == OperatorCommand.PAUSE_TASK),
            tuple(
                CancelRequest(target, given_at / MICROSECONDS, by)
                for verb, target, _, given_at, by in found
                if verb == OperatorCommand.CANCEL
            ),
        )

    def mark_done(self, cluster_id: str, incarnations: frozenset[int]) -> None:
        """Delete the commands to restart these workers: they are stopping, or have ended."""
        rows = self._rows(OperatorCommand.RESTART).filter(target=cluster_id, incarnation__in=incarnations)
        self._session.run(lambda: rows.delete(), retry_seconds=0)

    def _rows(self, verb: str) -> QuerySet[OperatorCommand]:
        return self._all().filter(verb=verb)

    def _all(self) -> QuerySet[OperatorCommand]:
        return OperatorCommand._default_manager.using(self.database)
