"""A pusher's fetcher at any broker, and what has become of the messages that it was lent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from django_cluster.brokers.base import Broker
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.roles.assignments import Assignments
from django_cluster.cluster.roles.fetcher import Fetcher
from django_cluster.cluster.roles.verification_crashes import VerificationCrashes
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Outcome
from tests.integration.cluster_harness import CODEC, ROWS, SETTINGS

PATIENCE = 20.0


class Reports:
    """In the place of the loss_reporter: keeps what it is told of."""

    busy = False

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def report(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes


class Pusher:
    """The half of it that leases."""

    def __init__(self, broker: Broker, folder: Path, codec: Codec = CODEC) -> None:
        self.broker, self.reports, self.assignments = broker, Reports(), Assignments(1)
        folder /= uuid4().hex
        folder.mkdir()
        self._crashes = VerificationCrashes(folder)
        board = Scoreboard.create(folder / "board", ROWS)
        loss_reporter: Any = self.reports
        sections = (SETTINGS.broker,)
        self.fetcher = Fetcher((1, 0), board, broker, codec, self.assignments, loss_reporter, self._crashes, sections)

    def take_all(self, expected: int) -> None:
        """Until so many messages have become a task or a rejected one. What comes is settled, as by the monitor."""
        deadline = time.monotonic() + PATIENCE
        while len(self.reports.outcomes) + len(self.assignments.unassigned) < expected:
            assert time.monotonic() < deadline, f"{self.reports.outcomes}, {self.assignments.unassigned}"
            self.fetcher.fetch_now()
            self.fetcher.fetch(1000)
        self.broker.acknowledge([message.receipt for message in self.assignments.unassigned])
        self.broker.discard([outcome.receipt for outcome in self.reports.outcomes])

    @property
    def tasks(self) -> list[bytes]:
        return [message.body for message in self.assignments.unassigned]

    def close(self) -> None:
        self._crashes.close()
