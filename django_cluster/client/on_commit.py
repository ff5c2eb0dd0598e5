"""Sending inside transactions: messages that wait for a commit, and tracked tasks, whose rows and messages belong
together.

The row of a tracked task is written where the caller is, in its transaction if there is one. If the queue is in the
same database, so is the message. Else the row keeps the message until the broker has it: if the process dies in
between, the scheduler of a cluster sends it (``schedules.unsent``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction

from django_cluster.brokers.base import Message
from django_cluster.core.events.tasks import TRACKED_NOT_SENT
from django_cluster.errors import BrokerError, StoreUnavailable
from django_cluster.lifecycle.send import QueueSender
from django_cluster.models import TrackedTask
from django_cluster.stores.tracked import TrackedTasks


@dataclass(slots=True, eq=False)
class SendOnCommit:
    """The callback of ``transaction.on_commit``. Its errors reach the code that ended the transaction."""

    sender: QueueSender
    messages: Sequence[Message]
    alias: str
    sent: bool = False

    def __call__(self) -> None:
        try:
            self.sender.put(self.messages)
        except BrokerError as error:
            error.add_note(
                f"The transaction on {self.alias!r} is committed, but {len(self.messages)} of its tasks were not sent,"
                " nor were those that the transaction sent later."
            )
            raise
        self.sent = True


@dataclass(slots=True, eq=False, kw_only=True)
class SendTrackedOnCommit(SendOnCommit):
    """The callback for tracked tasks: what cannot be sent now is kept in the rows, and sent by a cluster."""

    store: TrackedTasks
    rows: Sequence[TrackedTask]

    def __call__(self) -> None:
        try:
            self.sender.put(self.messages)
        except BrokerError as error:
            for row in self.rows:
                TRACKED_NOT_SENT.log(task_id=row.id, task_name=row.name, error=error)
            return
        self.sent = True
        note_sent(self.store, self.rows)


def send_tracked(
    sender: QueueSender,
    messages: Sequence[Message],
    store: TrackedTasks,
    rows: Sequence[TrackedTask],
    payloads: Mapping[str, str],
    alias: str | None,
) -> None:
    """Write the rows and send the messages.

    ``payloads``: task id → signed text, as it is in the message. ``alias``: the database for whose commit the messages
    wait, if any.

    Raises ``StoreUnavailable``, and ``BrokerError`` with nothing kept if the messages cannot be sent now.
    """
    if alias is None and sender.broker.database == store.database:
        with store.transaction():
            store.add(rows)
            sender.put(messages)
        return
    for row in rows:
        row.payload = payloads[row.id]
    store.add(rows)
    if alias is not None:
        later = SendTrackedOnCommit(sender, messages, alias, store=store, rows=rows)
        transaction.on_commit(later, using=alias)
        return
    try:
        sender.put(messages)
    except BrokerError:
        store.forget([row.id for row in rows])
        raise
    note_sent(store, rows)


def note_sent(store: TrackedTasks, rows: Sequence[TrackedTask]) -> None:
    """The rows need not keep the messages. If that cannot be written, a message is sent twice, and run once."""
    try:
        store.note_sent([row.id for row in rows])
    except StoreUnavailable as error:
        for row in rows:
            TRACKED_NOT_SENT.log(task_id=row.id, task_name=row.name, error=error)
