"""The brokers on which a test of whole clusters runs: on every one what is promised of delivery, on two the rest."""

from __future__ import annotations

import pytest

BOTH = ["orm", "redis"]
OTHERS = ["sentinels", "redis_cluster", "sqs", "rabbitmq", "mongo", "disque", "ironmq"]

on_both_brokers = pytest.mark.parametrize("broker", BOTH)
on_every_broker = pytest.mark.parametrize("broker", [*BOTH, *OTHERS])
