"""Reads history: the rows of a span of time, and the sums of the span before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.db import router
from django.db.models import QuerySet, Sum

from django_cluster.models import Rollup
from django_cluster.stores.session import results_session

MAX_ROWS = 50_000
"""Rows that are read at most, the newest."""


class HistoryRow(NamedTuple):
    """What one row counts. All durations are seconds, all moments Unix times."""

    start: int
    queue: str
    func: str
    status: str
    error_kind: str
    runs: int
    retried: int
    run_seconds: float
    wait_text: str
    """The histogram of waiting times, as ``core.histogram`` writes it."""
    run_text: str
    """The histogram of running times."""
    last_error: str
    last_task: str
    last_at: float


COLUMNS = (
    *("start", "queue", "func", "status", "error_kind", "runs", "retried", "run_seconds"),
    *("wait_bins", "run_bins", "last_error", "last_task", "last_at"),
)


class HistoryReader:
    """The history in the database of the results."""

    def __init__(self, database: str | None = None) -> None:
        """``database``: its alias; None: what the database router says."""
        self._alias = database or router.db_for_write(Rollup)
        self._session = results_session(self._alias)

    def rows(self, since: int, *, func: str | None = None) -> list[HistoryRow]:
        """The rows that begin at ``since`` (Unix time) or later; one query. Raises ``StoreUnavailable``."""
        found = self._rows(func).filter(start__gte=since).order_by("-start").values_list(*COLUMNS)[:MAX_ROWS]
        return self._session.read(lambda: [HistoryRow(*row) for row in found])

    def sums(self, since: int, before: int, *, func: str | None = None) -> Mapping[str, int]:
        """Status → number of runs between two moments; one query. Raises ``StoreUnavailable``."""
        span = self._rows(func).filter(start__gte=since, start__lt=before).order_by()
        return self._session.read(lambda: dict(span.values_list("status").annotate(total=Sum("runs"))))

    def _rows(self, func: str | None) -> QuerySet[Rollup]:
        rows = Rollup.objects.using(self._alias).filter(step__gt=0)
        return rows if func is None else rows.filter(func=func)
