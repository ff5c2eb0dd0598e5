"""The brokers on which a test of whole clusters runs.

What is promised of delivery is tried whole on three that are as different as can be: a table, Redis, and RabbitMQ,
which hands out by itself. On the others ``make test`` tries what an adapter does in its own way (to lend, to lend on,
to take back, to wait), and leaves the rest to ``make test-all``. ``qchaos`` visits most of them as well.
"""

from __future__ import annotations

import pytest

BOTH = ["orm", "redis"]
THREE = [*BOTH, "rabbitmq"]
OTHERS = ["sentinels", "redis_cluster", "sqs", "mongo", "disque", "ironmq"]

on_both_brokers = pytest.mark.parametrize("broker", BOTH)
on_every_broker = pytest.mark.parametrize(
    "broker", [*THREE, *(pytest.param(name, marks=pytest.mark.before_release) for name in OTHERS)]
)
on_every_broker_always = pytest.mark.parametrize("broker", [*THREE, *OTHERS])
"""For tests of what each adapter does in its own way."""
