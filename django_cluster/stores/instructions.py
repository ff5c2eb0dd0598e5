"""What operators want of the clusters: written by people, read by each cluster with its heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import router
from django.db.models import F, Q, QuerySet

from django_cluster.models import Instruction
from django_cluster.models.clock import MICROSECONDS, DatabaseClock
from django_cluster.stores.orm_session import Session


@dataclass(frozen=True, slots=True)
class Pause:
    """Nobody takes anything from this queue."""

    queue: str
    by: str
    age: float
    """Seconds since it was ordered."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one cluster is to do."""

    paused: frozenset[str] = frozenset()
    recycle: frozenset[int] = frozenset()
    """Seats."""


class InstructionStore:
    """Every verb raises ``StoreUnavailable`` when the database cannot be used."""

    def __init__(self, database: str | None = None) -> None:
        """``database``: alias; None asks the router."""
        self.database = database or router.db_for_write(Instruction)
        self._session = Session(self.database)

    # ── for operators ────────────────────────────────────────────────────────────────────────────

    def pause(self, queue: str, by: str = "") -> bool:
        """Whether it was not paused before."""
        return self._give(Instruction.PAUSE, queue, 0, by)

    def resume(self, queue: str) -> bool:
        """Whether it was paused."""
        return self._session.run(lambda: self._rows(Instruction.PAUSE).filter(target=queue).delete()[0] > 0)

    def paused(self) -> list[Pause]:
        """The paused queues, by name."""
        rows = self._rows(Instruction.PAUSE).annotate(age=DatabaseClock() - F("given")).order_by("target")
        found = self._session.read(lambda: list(rows.values_list("target", "by", "age")))
        return [Pause(queue, by, max(0.0, age / MICROSECONDS)) for queue, by, age in found]

    def recycle(self, cluster_id: str, seat: int, by: str = "") -> bool:
        """Whether this was not wanted before."""
        return self._give(Instruction.RECYCLE, cluster_id, seat, by)

    def _give(self, verb: str, target: str, seat: int, by: str) -> bool:
        def give() -> bool:
            defaults = {"by": by[:150], "given": DatabaseClock()}
            return self._all().get_or_create(verb=verb, target=target, seat=seat, defaults=defaults)[1]

        return self._session.run(give)

    # ── for clusters ─────────────────────────────────────────────────────────────────────────────

    def wishes(self, cluster_id: str, queues: Sequence[str]) -> Wishes:
        """What this cluster is to do; one query."""
        pauses = Q(verb=Instruction.PAUSE, target__in=queues)
        mine = self._all().filter(pauses | Q(verb=Instruction.RECYCLE, target=cluster_id))
        found = self._session.read(lambda: list(mine.values_list("verb", "target", "seat")))
        return Wishes(
            frozenset(target for verb, target, _ in found if verb == Instruction.PAUSE),
            frozenset(seat for verb, _, seat in found if verb == Instruction.RECYCLE),
        )

    def fulfilled(self, cluster_id: str, seats: frozenset[int]) -> None:
        """These seats have been told to leave, or are gone."""
        rows = self._rows(Instruction.RECYCLE).filter(target=cluster_id, seat__in=seats)
        self._session.run(lambda: rows.delete(), patience=0)

    def _rows(self, verb: str) -> QuerySet[Instruction]:
        return self._all().filter(verb=verb)

    def _all(self) -> QuerySet[Instruction]:
        return Instruction._default_manager.using(self.database)
