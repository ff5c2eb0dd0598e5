"""Requests to cancel tasks that cannot be taken out of a queue: rows that clusters read with their heartbeats.

A request is kept until a cluster has seen the end of its task, and for ``KEPT_FOR`` at most: longer than any broker
keeps a message that no program can look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import router
from django.db.models import Q, QuerySet

from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.core.safe_text import storable
from django_cluster.database.clock import MICROSECONDS, DatabaseClock
from django_cluster.errors import ClusterError
from django_cluster.models import OperatorCommand
from django_cluster.stores.session import results_session

KEPT_FOR = timedelta(days=14)
"""The longest time for which SQS keeps a message."""
MAX_REQUESTS = 8000
"""Requests that are kept at the same time: the scoreboard of a cluster has room for as many."""
RECENT_SECONDS = 30.0
"""How far ``recent`` looks back: a transaction that is open for longer is noticed with the next heartbeat."""
CANCEL = Q(verb=OperatorCommand.CANCEL, until__gt=DatabaseClock())
"""Requests that hold, by the clock of the database."""


class CancelRequestStore:
    """Every verb raises ``StoreUnavailable`` when the database cannot be used."""

    def __init__(self, database: str | None = None) -> None:
        """``database``: alias; None asks the router."""
        self.database = database or router.db_for_write(OperatorCommand)
        self._session = results_session(self.database)

    def add(self, targets: Sequence[str], by: str = "") -> None:
        """Request that these are cancelled. Raises ``ClusterError`` if there are ``MAX_REQUESTS`` others."""
        self._session.run(lambda: self._add(targets, storable(by, 150) or ""))

    def _add(self, targets: Sequence[str], by: str) -> None:
        self._rows().filter(until__lte=DatabaseClock()).delete()
        others = self._rows().exclude(target__in=targets).count()
        if others + len(targets) > MAX_REQUESTS:
            raise ClusterError(
                f"{others} tasks and groups are waiting to be cancelled; there is no room for more than {MAX_REQUESTS}."
            )
        values = {
            "by": by,
            "given_at": DatabaseClock(),
            "until": DatabaseClock() + KEPT_FOR // timedelta(microseconds=1),
        }
        for target in targets:
            if not self._rows().filter(target=target).update(**values):
                self._all().get_or_create(verb=OperatorCommand.CANCEL, target=target, incarnation=0, defaults=values)

    def recent(self) -> list[CancelRequest]:
        """The requests of the last ``RECENT_SECONDS``."""
        since = DatabaseClock() - int(RECENT_SECONDS * MICROSECONDS)
        return self._read(self._rows().filter(given_at__gt=since))

    def find(self, targets: Sequence[str]) -> list[CancelRequest]:
        """The requests for these that hold."""
        return self._read(self._all().filter(CANCEL, target__in=targets))

    def remove(self, targets: Sequence[str]) -> None:
        """Delete the requests for these: they have ended, or are sent again."""
        self._session.run(lambda: self._rows().filter(target__in=targets).delete(), retry_seconds=0)

    def _read(self, rows: QuerySet[OperatorCommand]) -> list[CancelRequest]:
        found = self._session.read(lambda: list(rows.order_by().values_list("target", "given_at", "by")))
        return [CancelRequest(target, given_at / MICROSECONDS, by) for target, given_at, by in found]

    def _rows(self) -> QuerySet[OperatorCommand]:
        return self._all().filter(verb=OperatorCommand.CANCEL)

    def _all(self) -> QuerySet[OperatorCommand]:
        return OperatorCommand._default_manager.using(self.database)
