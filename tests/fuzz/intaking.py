"""A pusher's intake at any broker, and what has become of the messages that it was lent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from django_cluster.brokers.base import Broker
from django_cluster.cluster.intake import Intake
from django_cluster.cluster.ledger import Ledger
from django_cluster.cluster.scoreboard import Scoreboard
from django_cluster.cluster.suspects import Suspects
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Outcome
from tests.integration.stage import CODEC, ROWS, SETTINGS

PATIENCE = 20.0


class Reports:
    """In the place of the undertaker: keeps what it is told of."""

    busy = False

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def report(self, word: str, seat: object, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes


class Pusher:
    """The half of it that leases."""

    def __init__(self, broker: Broker, folder: Path, codec: Codec = CODEC) -> None:
        self.broker, self.reports, self.ledger = broker, Reports(), Ledger(1)
        folder /= uuid4().hex
        folder.mkdir()
        self._suspects = Suspects(folder)
        board = Scoreboard.create(folder / "board", ROWS)
        undertaker: Any = self.reports
        sections = (SETTINGS.broker,)
        self.intake = Intake((1, 0), board, broker, codec, self.ledger, undertaker, self._suspects, sections)

    def take_all(self, expected: int) -> None:
        """Until so many messages have become a task or a rejected one. What comes is settled, as by the monitor."""
        deadline = time.monotonic() + PATIENCE
        while len(self.reports.outcomes) + len(self.ledger.loans) < expected:
            assert time.monotonic() < deadline, f"{self.reports.outcomes}, {self.ledger.loans}"
            self.intake.look_now()
            self.intake.fetch(1000)
        self.broker.acknowledge([loan.receipt for loan in self.ledger.loans])
        self.broker.discard([outcome.receipt for outcome in self.reports.outcomes])

    @property
    def tasks(self) -> list[bytes]:
        return [loan.body for loan in self.ledger.loans]

    def close(self) -> None:
        self._suspects.close()
