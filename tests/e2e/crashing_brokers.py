"""Brokers at which a monitor dies, just before or just after what it asks of them.

Where and how often a cluster's monitor dies stands in its environment; without that, they are ordinary brokers.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from django_cluster.brokers.messages import Message
from django_cluster.brokers.orm import OrmBroker
from django_cluster.brokers.redis import RedisBroker
from django_cluster.brokers.sqs import SqsBroker
from django_cluster.core.settings import BrokerSettings

POINT = "DEADLY_POINT"
"""Such as ``before enqueue`` or ``after acknowledge``."""
FOLDER = "DEADLY_FOLDER"
"""Where the deaths are counted."""
WHOLE = "DEADLY_FOR_ALL"
"""Set: the whole cluster dies."""
REDIS = "DEADLY_REDIS"
"""The server: a broker that is named by its class has no options."""
SQS = "DEADLY_SQS"
"""The same, as JSON."""
DEATHS = 3


def perhaps_die(point: str) -> None:
    if os.environ.get(POINT) != point:
        return
    calls = Path(os.environ[FOLDER]) / "calls"
    with calls.open("a") as file:
        file.write("x")
    if len(calls.read_text()) in range(1, 2 * DEATHS, 2):
        if WHOLE in os.environ:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


class DeadlyOrm(OrmBroker):
    """In a cluster, only a monitor acknowledges, and only it and the scheduler enqueue."""

    def enqueue(self, messages: Sequence[Message]) -> None:
        perhaps_die("before enqueue")
        super().enqueue(messages)
        perhaps_die("after enqueue")

    def acknowledge(self, receipts: Sequence[str]) -> None:
        perhaps_die("before acknowledge")
        super().acknowledge(receipts)
        perhaps_die("after acknowledge")


class DeadlyRedis(RedisBroker):
    """The same."""

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(replace(settings, options={"url": os.environ[REDIS]}))

    def enqueue(self, messages: Sequence[Message]) -> None:
        perhaps_die("before enqueue")
        super().enqueue(messages)
        perhaps_die("after enqueue")

    def acknowledge(self, receipts: Sequence[str]) -> None:
        perhaps_die("before acknowledge")
        super().acknowledge(receipts)
        perhaps_die("after acknowledge")


class DeadlySqs(SqsBroker):
    """When it gives something back at no cost, it acknowledges what it has copied."""

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(replace(settings, options=json.loads(os.environ[SQS])))

    def acknowledge(self, receipts: Sequence[str]) -> None:
        perhaps_die("before acknowledge")
        super().acknowledge(receipts)
        perhaps_die("after acknowledge")
