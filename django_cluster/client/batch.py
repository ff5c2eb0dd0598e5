"""``with batch():`` the tasks that a block sends leave together at its end, in one round trip for each queue."""

from __future__ import annotations

from contextvars import ContextVar, Token
from threading import get_ident
from types import TracebackType

from asgiref.sync import sync_to_async
from django.db import connections

from django_cluster.brokers.base import Broker
from django_cluster.client.pending_sends import PendingSend, deliver, merged
from django_cluster.errors import BrokerError

Place = tuple[bool, tuple[object, ...]]
"""Where a connection is: whether in a transaction, and in which savepoints."""

_current: ContextVar[batch | None] = ContextVar("django_cluster_batch", default=None)


class batch:
    """Context manager, also for ``async with``: tasks sent in the block leave together when it ends.

    They leave in the order of their calls, in one round trip for each queue, and for up to ``capabilities.bulk``
    messages (256 on most brokers) all or none. If the block raises, none of them is sent. Ids and handles are returned
    immediately; the rows of tracked tasks are written at the end. Of a block in a block, the outer one sends.

    Not collected are tasks that wait for the commit of a transaction (they leave together at the commit), tasks with
    ``sync``, and tasks sent in a transaction that has begun in the block and that has the queue in its own database.

    Leaving the block raises ``BrokerUnavailable`` or ``BrokerRefused``, with a note that says how many tasks were not
    sent.
    """

    def __init__(self) -> None:
        self._pending: list[PendingSend] = []
        self._outer: batch | None = None
        self._token: Token[batch | None] | None = None
        self._places: dict[str, Place] = {}
        self._thread: int | None = None
        """The thread whose connections the collected messages will use."""
        self._closed = False

    def __enter__(self) -> batch:
        if self._token is not None:
            raise RuntimeError("This batch has begun already: each `with` needs a `batch()` of its own.")
        self._places = {each.alias: _place_of(each.alias) for each in connections.all(initialized_only=True)}
        self._outer = _current.get()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()
        if error is None:
            self._finish()

    async def __aenter__(self) -> batch:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()
        if error is None:
            await sync_to_async(self._finish)()

    def collects(self, broker: Broker) -> bool:
        """Whether what is sent to this broker now, by this thread, can wait for the end of the block.

        An asyncio task that was started in the block may outlive it, and another thread has other connections.
        """
        if self._closed or self._thread not in (None, get_ident()):
            return False
        alias = broker.database
        return alias is None or _place_of(alias) == self._places.get(alias, (False, ()))

    def add(self, pending: PendingSend) -> None:
        self._thread = get_ident()
        self._pending.append(pending)

    def _close(self) -> None:
        self._closed = True
        if self._token is not None:
            _current.reset(self._token)

    def _finish(self) -> None:
        if self._outer is not None:
            for each in self._pending:
                self._outer.add(each)
            return
        for together in merged(self._pending):
            try:
                deliver(together)
            except BrokerError as error:
                unsent = sum(len(each.messages) for each in self._pending if not each.sent)
                error.add_note(f"{unsent} tasks of the batch were not sent.")
                raise
            together.mark_sent()


def current_batch(broker: Broker) -> batch | None:
    """The block in which this code runs, if what is sent to this broker now waits for its end."""
    found = _current.get()
    return found if found is not None and found.collects(broker) else None


def _place_of(alias: str) -> Place:
    connection = connections[alias]
    return connection.in_atomic_block, tuple(connection.savepoint_ids)
