"""The brokers on which a test of whole clusters runs.

What is promised of delivery is tried whole on three that are as different as can be: a table, Redis, and RabbitMQ,
which hands out by itself. On the others ``make test`` tries what an adapter does in its own way (to lend, to lend on,
to take back, to wait), and leaves the rest to ``make test-all``. ``qchaos`` visits most of them as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

BOTH = ["orm", "redis"]
THREE = [*BOTH, "rabbitmq"]
OTHERS = ["sentinels", "redis_cluster", "sqs", "mongo", "disque", "ironmq"]

on_both_brokers = pytest.mark.parametrize("broker", BOTH)
on_every_broker = pytest.mark.parametrize(
    "broker", [*THREE, *(pytest.param(name, marks=pytest.mark.before_release) for name in OTHERS)]
)
on_every_broker_before_release = pytest.mark.parametrize(
    "broker", ["orm", *(pytest.param(name, marks=pytest.mark.before_release) for name in (*THREE[1:], *OTHERS))]
)
"""For tests of what happens on this side of the broker: ``make test-all`` tries it again with each of the others."""
on_every_broker_always = pytest.mark.parametrize("broker", [*THREE, *OTHERS])
"""For tests of what each adapter does in its own way."""


def each_once(name: str, values: Sequence[object]) -> pytest.MarkDecorator:
    """Each broker with the first value, and the first broker with each; all other pairs before a release.

    For a manner of doing things that no broker can know of.
    """
    first, *others = values
    pairs = [pytest.param("orm", first)]
    pairs += [pytest.param(broker, first) for broker in THREE[1:]]
    pairs += [pytest.param("orm", value) for value in others]
    late = [(broker, value) for broker in THREE[1:] for value in others]
    late += [(broker, value) for broker in OTHERS for value in values]
    pairs += [pytest.param(*pair, marks=pytest.mark.before_release) for pair in late]
    return pytest.mark.parametrize(("broker", name), pairs)
