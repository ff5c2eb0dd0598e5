"""Calls whose messages are sent later, and together: one round trip for each queue, in the order of the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from django.db import transaction

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.core.events.tasks import TRACKED_NOT_SENT
from django_cluster.errors import BrokerError, StoreUnavailable
from django_cluster.lifecycle.send import QueueSender
from django_cluster.models import TrackedTask
from django_cluster.stores.tracked import TrackedTasks


@dataclass(frozen=True, slots=True)
class TrackedRows:
    """The rows of a call whose tasks are tracked, and where they are kept."""

    store: TrackedTasks
    rows: Sequence[TrackedTask]

    def note_sent(self) -> None:
        """The rows need not keep the messages. If that cannot be written, a message is sent twice, and run once."""
        try:
            self.store.note_sent([row.id for row in self.rows])
        except StoreUnavailable as error:
            self.log_unsent(error)

    def log_unsent(self, error: Exception) -> None:
        """A cluster will send the messages from the rows (``schedules.unsent``)."""
        for row in self.rows:
            TRACKED_NOT_SENT.log(task_id=row.id, task_name=row.name, error=error)


@dataclass(slots=True, eq=False)
class PendingSend:
    """The signed messages of one call, or of several calls to one queue."""

    sender: QueueSender
    messages: Sequence[Message]
    tracked: TrackedRows | None = None
    group_openers: Sequence[Callable[[], None]] = ()
    """Each saves a group whose members are among the messages; called before they are sent."""
    database: str | None = None
    """The database that has the queue and also the groups and rows: they are written in one transaction."""
    parts: Sequence[PendingSend] = ()
    """The calls that this was merged from, if there were several."""
    sent: bool = False

    @property
    def broker(self) -> Broker:
        return self.sender.broker

    def mark_sent(self) -> None:
        for each in (self, *self.parts):
            each.sent = True


def merged(pending: Iterable[PendingSend]) -> list[PendingSend]:
    """One for each queue, with the messages of all calls in their order.

    Where calls of tracked and of other tasks follow each other in one queue, each change begins a new one.
    """
    found: list[list[PendingSend]] = []
    last_of: dict[int, list[PendingSend]] = {}
    for each in pending:
        last = last_of.get(id(each.broker))
        if last is None or (last[0].tracked is None) != (each.tracked is None):
            last = last_of[id(each.broker)] = []
            found.append(last)
        last.append(each)
    return [_merged_calls(calls) if len(calls) > 1 else calls[0] for calls in found]


def _merged_calls(calls: Sequence[PendingSend]) -> PendingSend:
    """Calls to one queue as one; either all are tracked or none is."""
    first = calls[0]
    rows = [row for each in calls if each.tracked for row in each.tracked.rows]
    return PendingSend(
        first.sender,
        [message for each in calls for message in each.messages],
        TrackedRows(first.tracked.store, rows) if first.tracked else None,
        [opener for each in calls for opener in each.group_openers],
        next((each.database for each in calls if each.database is not None), None),
        calls,
    )


def deliver(pending: PendingSend) -> None:
    """Send the messages now, after their groups and rows were saved.

    Raises ``StoreUnavailable``, and ``BrokerError`` with no row kept if the messages cannot be sent.
    """
    tracked = pending.tracked
    if tracked is not None and _deliver_in_one_statement(pending, tracked):
        return
    with transaction.atomic(using=pending.database) if pending.database is not None else nullcontext():
        for open_group in pending.group_openers:
            open_group()
        if tracked is None:
            pending.sender.put(pending.messages)
        elif pending.database is not None:
            tracked.store.add(tracked.rows)
            pending.sender.put(pending.messages)
        else:
            _deliver_elsewhere(pending, tracked)


def _deliver_in_one_statement(pending: PendingSend, tracked: TrackedRows) -> bool:
    """Whether rows and messages, which are nothing but tables of one database, could be written together."""
    if pending.database is None or pending.group_openers:
        return False
    insert = tracked.store.insert_of(tracked.rows)
    return insert is not None and pending.sender.put_with(pending.messages, insert)


def _deliver_elsewhere(pending: PendingSend, tracked: TrackedRows) -> None:
    """Rows and queue are on two servers: until the queue has the messages, the rows keep them."""
    tracked.store.add(tracked.rows)
    try:
        pending.sender.put(pending.messages)
    except BrokerError:
        tracked.store.forget([row.id for row in tracked.rows])
        raise
    tracked.note_sent()
