"""The rows of payload offloading (``LargePayload``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from django.db import connections, router, transaction
from django.db.models import QuerySet
from django.db.models.expressions import CombinedExpression

from django_cluster.brokers.orm_rows import statement_batches
from django_cluster.brokers.orm_session import queue_session
from django_cluster.core.batching import batches
from django_cluster.database.clock import MICROSECONDS, DatabaseClock
from django_cluster.models.large_payload import LargePayload

IDS_PER_STATEMENT = 500
"""Rows that one statement names: each id is a parameter, and databases limit their number."""
GRACE_SECONDS = 86_400.0
"""Seconds for which a row is kept beyond the day on which its broker has forgotten the reference."""


class PayloadStore:
    """Rows of one queue. Raises ``BrokerUnavailable`` and ``BrokerRefused``."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.database: str = router.db_for_write(LargePayload)
        self._session = queue_session(self.database)

    @property
    def _rows(self) -> QuerySet[LargePayload]:
        return LargePayload.objects.using(self.database)

    def save(self, payloads: Mapping[str, str], max_age: float | None) -> None:
        """Payloads by their ids, all or none: one INSERT, or as many as servers limit a statement to."""
        until = None if max_age is None else moment(max_age + GRACE_SECONDS)
        rows = [
            LargePayload(id=id, queue=self.queue, created_at=DatabaseClock(), keep_until=until, payload=payload)
            for id, payload in payloads.items()
        ]
        statements = list(statement_batches(rows))

        def insert(_: object) -> None:
            for batch in statements:
                self._rows.bulk_create(batch)

        self._session.execute(insert, atomic=len(statements) > 1)

    def after_commit(self, act: Callable[[], None]) -> None:
        """Call ``act`` at the commit of the caller's transaction, before which other connections cannot read the rows;
        now if there is none."""
        if connections[self.database].in_atomic_block:
            transaction.on_commit(act, using=self.database)
        else:
            act()

    def find(self, ids: Iterable[str]) -> dict[str, str]:
        """Payloads of the rows that exist, by their ids."""
        found: dict[str, str] = {}
        for rows in self._named(ids):
            found.update(self._session.execute(partial(_payloads_of, rows)))
        return found

    def extend(self, ids: Iterable[str], max_age: float) -> None:
        """Keep the rows for ``max_age`` seconds from now: their messages were sent again."""
        for rows in self._named(ids):
            self._session.execute(partial(_keep_until, rows, moment(max_age + GRACE_SECONDS)))

    def delete(self, ids: Iterable[str]) -> None:
        """Delete rows whose messages are gone."""
        for rows in self._named(ids):
            self._session.execute(partial(_delete, rows))

    def _named(self, ids: Iterable[str]) -> Iterator[QuerySet[LargePayload]]:
        return (self._rows.filter(pk__in=batch) for batch in batches(ids, most=IDS_PER_STATEMENT))

    def delete_older(self, older: float) -> None:
        """Delete the rows of this queue that are older than this, in seconds."""
        self.delete_in_batches(self._rows.filter(queue=self.queue, created_at__lte=moment(-older)))

    def expired(self) -> QuerySet[LargePayload]:
        """Rows of all queues whose reference no broker can have any more."""
        return self._rows.filter(keep_until__lt=DatabaseClock())

    def delete_in_batches(self, rows: QuerySet[LargePayload]) -> int:
        """Delete the rows; returns how many there were. Each batch is its own transaction, so that others do not wait
        long."""
        count = 0
        while ids := self._session.execute(lambda _: list(rows.values_list("pk", flat=True)[:IDS_PER_STATEMENT])):
            self.delete(ids)
            count += len(ids)
        return count

    def count(self, rows: QuerySet[LargePayload]) -> int:
        return self._session.execute(lambda _: rows.count())

    def ping(self) -> None:
        self._session.execute(lambda cursor: cursor.execute("SELECT 1"))

    def close(self) -> None:
        self._session.close()


def moment(seconds: float) -> CombinedExpression:
    """The moment ``seconds`` from now, by the database's clock."""
    return DatabaseClock() + int(seconds * MICROSECONDS)


def _payloads_of(rows: QuerySet[LargePayload], _: object) -> list[tuple[str, str]]:
    return list(rows.values_list("pk", "payload"))


def _keep_until(rows: QuerySet[LargePayload], until: CombinedExpression, _: object) -> None:
    rows.filter(keep_until__isnull=False).update(keep_until=until)


def _delete(rows: QuerySet[LargePayload], _: object) -> None:
    rows.delete()
