"""What a worker knows of cancelled tasks: the set that the monitor has written on the scoreboard.

Where nothing is cancelled, a task costs one look at a word. Only if the set names a task, the database is asked, which
knows the whole request.
"""

from __future__ import annotations

from functools import partial

from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.shared_hashes import text_hash
from django_cluster.core.cancel_requests import CancelRequest, keys_of
from django_cluster.core.messages import TaskHeader
from django_cluster.errors import StoreUnavailable
from django_cluster.lifecycle.interruption import CancelPoint
from django_cluster.stores.cancel_requests import CancelRequestStore


class CancelledTasks:
    """The ``CancelChecks`` of a worker."""

    def __init__(self, board: Scoreboard, row: int, store: CancelRequestStore) -> None:
        self._shared, self._store = board.cancelled, store
        self._words = board.cancelled.words
        self._version = 0
        self._hashes: frozenset[int] = frozenset()
        self.point = CancelPoint(partial(board.is_cancelled, row))

    def request_for(self, header: TaskHeader) -> CancelRequest | None:
        """The request that covers a task, if there is one. During an outage of the database, the set is believed."""
        if self._words[0] != self._version:
            self._read()
        if not self._hashes:
            return None
        keys = keys_of(header)
        names = [name for name in keys.names if text_hash(name) in self._hashes]
        if not names:
            return None
        try:
            found = self._store.find(names)
        except StoreUnavailable:
            return CancelRequest(names[0])
        return next((request for request in found if request.covers(keys)), None)

    def _read(self) -> None:
        version = self._shared.version
        found = self._shared.hashes()
        if found is not None:  # else it is just being written: the next task looks again
            self._version, self._hashes = version, found
