"""What operators want of the clusters: written by people, read by each cluster with its heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import router
from django.db.models import F, Q, QuerySet

from django_cluster.database.clock import MICROSECONDS, DatabaseClock
from django_cluster.models import OperatorCommand
from django_cluster.stores.session import results_session


@dataclass(frozen=True, slots=True)
class QueuePause:
    """A queue from which no cluster leases."""

    queue: str
    by: str
    age: float
    """Seconds since the queue was paused."""


@dataclass(frozen=True, slots=True)
class PendingCommands:
    """What one cluster is to do."""

    paused: frozenset[str] = frozenset()
    restart: frozenset[int] = frozenset()
    """Incarnations."""


class OperatorCommandStore:
    """Every verb raises ``StoreUnavailable`` when the database cannot be used."""

    def __init__(self, database: str | None = None) -> None:
        """``database``: alias; None asks the router."""
        self.database = database or router.db_for_write(OperatorCommand)
        self._session = results_session(self.database)

    # ── for operators ────────────────────────────────────────────────────────────────────────────

    def pause(self, queue: str, by: str = "") -> bool:
        """Whether it was not paused before."""
        return self._give(OperatorCommand.PAUSE, queue, 0, by)

    def resume(self, queue: str) -> bool:
        """Whether it was paused."""
        return self._session.run(lambda: self._rows(OperatorCommand.PAUSE).filter(target=queue).delete()[0] > 0)

    def paused(self) -> list[QueuePause]:
        """The paused queues, by name."""
        rows = self._rows(OperatorCommand.PAUSE).annotate(age=DatabaseClock() - F("given_at")).order_by("target")
        found = self._session.read(lambda: list(rows.values_list("target", "by", "age")))
        return [QueuePause(queue, by, max(0.0, age / MICROSECONDS)) for queue, by, age in found]

    def restart(self, cluster_id: str, incarnation: int, by: str = "") -> bool:
        """Whether this was not wanted before."""
        return self._give(OperatorCommand.RESTART, cluster_id, incarnation, by)

    def _give(self, verb: str, target: str, incarnation: int, by: str) -> bool:
        def give() -> bool:
            defaults = {"by": by[:150], "given_at": DatabaseClock()}
            return self._all().get_or_create(verb=verb, target=target, incarnation=incarnation, defaults=defaults)[1]

        return self._session.run(give)

    # ── for clusters ─────────────────────────────────────────────────────────────────────────────

    def pending(self, cluster_id: str, queues: Sequence[str]) -> PendingCommands:
        """What this cluster is to do; one query."""
        pauses = Q(verb=OperatorCommand.PAUSE, target__in=queues)
        mine = self._all().filter(pauses | Q(verb=OperatorCommand.RESTART, target=cluster_id))
        found = self._session.read(lambda: list(mine.values_list("verb", "target", "incarnation")))
        return PendingCommands(
            frozenset(target for verb, target, _ in found if verb == OperatorCommand.PAUSE),
            frozenset(incarnation for verb, _, incarnation in found if verb == OperatorCommand.RESTART),
        )

    def mark_done(self, cluster_id: str, incarnations: frozenset[int]) -> None:
        """Delete the commands to restart these workers: they are stopping, or have ended."""
        rows = self._rows(OperatorCommand.RESTART).filter(target=cluster_id, incarnation__in=incarnations)
        self._session.run(lambda: rows.delete(), retry_seconds=0)

    def _rows(self, verb: str) -> QuerySet[OperatorCommand]:
        return self._all().filter(verb=verb)

    def _all(self) -> QuerySet[OperatorCommand]:
        return OperatorCommand._default_manager.using(self.database)
