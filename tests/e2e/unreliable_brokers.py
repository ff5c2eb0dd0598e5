"""Brokers that break their promise, to see whether anybody notices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from django_cluster.brokers.messages import Message
from django_cluster.brokers.orm import OrmBroker


class ForgetfulBroker(OrmBroker):
    """Forgets one message in ten, and says that all is well."""

    counts: ClassVar[list[int]] = [0]

    def enqueue(self, messages: Sequence[Message]) -> None:
        self.counts[0] += 1
        if self.counts[0] % 10:
            super().enqueue(messages)


class ZealousBroker(OrmBroker):
    """Delivers one message in ten twice."""

    counts: ClassVar[list[int]] = [0]

    def enqueue(self, messages: Sequence[Message]) -> None:
        self.counts[0] += 1
        super().enqueue(messages if self.counts[0] % 10 else [*messages, *messages])
