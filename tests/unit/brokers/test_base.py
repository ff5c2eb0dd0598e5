"""What all adapters share."""

from __future__ import annotations

import logging
import math
import time

import pytest

from django_cluster.brokers import base
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.core.settings import BrokerSettings


def test_claims_that_are_answered_too_late_are_said_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is always too slow would deliver nothing, without a reason in the log."""
    broker = MemoryBroker(BrokerSettings(kind="memory", queue="slow", lease=6.0))

    def seconds_said() -> list[float]:
        return [record.seconds for record in caplog.records if record.event == "claim_too_late"]  # type: ignore[attr-defined]

    with caplog.at_level(logging.WARNING, "django_cluster"):
        assert not broker.claimed_too_late(time.monotonic() - 2.9, math.inf)
        assert not caplog.records
        assert [broker.claimed_too_late(time.monotonic() - 4, math.inf) for _ in range(3)] == [True] * 3
        assert seconds_said() == [pytest.approx(4, abs=0.5)]
        monkeypatch.setattr(base, "LATE_CLAIM_INTERVAL", 0.0)
        assert broker.claimed_too_late(time.monotonic(), time.monotonic())
        assert len(seconds_said()) == 2
