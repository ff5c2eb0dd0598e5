"""The history of one cluster: written with the rows of tasks, merged and pruned by the monitor."""

from __future__ import annotations

from collections.abc import Sequence

from django_cluster.core.messages import Outcome
from django_cluster.core.settings import ResultSettings
from django_cluster.database.session import Session
from django_cluster.stores.history_compaction import HistoryCompactor
from django_cluster.stores.history_writer import HistoryWriter

MAX_DEFERRED = 2000
"""Outcomes without a row from which on they are counted before others are added."""


class History:
    """What a result store does for the history of its cluster."""

    def __init__(self, session: Session, cluster: str, days: float) -> None:
        self._session = session
        self._writer = HistoryWriter(cluster, session)
        self._compactor = HistoryCompactor(session, days)

    @classmethod
    def of(cls, section: ResultSettings, session: Session, cluster: str | None) -> History | None:
        """The history of the cluster with this id; None without an id, or where the setting ``history`` is off."""
        return cls(session, cluster, section.history_days) if cluster and section.history else None

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes in the transaction that saves them."""
        self._writer.write(outcomes)

    def defer(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes that leave no row: with the next that does, or the next ``flush``.

        A crash of the monitor before that loses these counts, and nothing else. Raises ``StoreUnavailable``.
        """
        if self._writer.deferred >= MAX_DEFERRED:
            self.flush()  # first: where it fails, these outcomes are recorded, and so deferred, once more
        self._writer.defer(outcomes)

    def flush(self) -> None:
        """Write what was deferred. Raises ``StoreUnavailable``."""
        if self._writer.deferred:
            self._session.run(self._writer.write)

    def maintain(self) -> None:
        """Write what was deferred, merge and delete what is old. Raises ``StoreUnavailable``."""
        self.flush()
        self._compactor.compact()
