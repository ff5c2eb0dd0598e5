"""Messages that wait for the commit of a transaction.

Each call registers a callback of its own, so that a savepoint that is rolled back takes its tasks with it, and tests
that capture callbacks see one for each call. The first that is called sends what the calls right after it wait with,
too: all leave in one round trip for each queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import connections, transaction

from django_cluster.brokers.messages import Message
from django_cluster.client.pending_sends import PendingSend, merged
from django_cluster.errors import BrokerError
from django_cluster.lifecycle.send import QueueSender


@dataclass(slots=True, eq=False)
class SendOnCommit:
    """The callback of ``transaction.on_commit``. Its errors reach the code that ended the transaction."""

    pending: PendingSend
    alias: str
    run: list[SendOnCommit] = field(repr=False)
    """The callbacks that are called directly after each other, this among them: they share their savepoints."""
    number: int
    """Place in ``run``."""

    @property
    def sender(self) -> QueueSender:
        return self.pending.sender

    @property
    def messages(self) -> Sequence[Message]:
        return self.pending.messages

    @property
    def sent(self) -> bool:
        return self.pending.sent

    def __call__(self) -> None:
        """Send what this callback and those behind it in the run wait with. Raises ``BrokerError``."""
        if self.sent:
            return
        waiting = [each.pending for each in self.run[self.number :] if not each.pending.sent]
        for together in merged(waiting):
            self._send(together, waiting)

    def _send(self, together: PendingSend, waiting: Sequence[PendingSend]) -> None:
        tracked = together.tracked
        try:
            together.sender.put(together.messages)
        except BrokerError as error:
            if tracked is None:
                unsent = sum(len(each.messages) for each in waiting if not each.sent)
                error.add_note(
                    f"The transaction on {self.alias!r} is committed, but {unsent} of its tasks were not sent,"
                    " nor were those that the transaction sent later."
                )
                raise
            tracked.log_unsent(error)
            return
        together.mark_sent()
        if tracked is not None:
            tracked.note_sent()


def send_on_commit(pending: PendingSend, alias: str) -> None:
    """Send the messages when the transaction of this database is committed; never if it is rolled back."""
    connection = connections[alias]
    run: list[SendOnCommit] = []
    if connection.run_on_commit:
        savepoints, last = connection.run_on_commit[-1][:2]
        if isinstance(last, SendOnCommit) and savepoints == set(connection.savepoint_ids):
            run = last.run
    callback = SendOnCommit(pending, alias, run, len(run))
    run.append(callback)
    transaction.on_commit(callback, using=alias)
