"""A process that is killed at one point of payload offloading: entry of DATABASES, broker section (JSON), point."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a secret for tests", INSTALLED_APPS=["django_cluster"], DATABASES={"default": json.loads(sys.argv[1])}
)
django.setup()

from django_cluster.brokers import open_broker  # noqa: E402  Django comes first
from django_cluster.brokers.messages import Message  # noqa: E402
from django_cluster.brokers.payload_offload import OffloadingBroker  # noqa: E402
from django_cluster.core.settings import BrokerSettings  # noqa: E402


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(section: dict[str, Any], point: str) -> None:
    broker = open_broker(BrokerSettings(**section))
    assert isinstance(broker, OffloadingBroker)
    faults: dict[str, tuple[object, str]] = {
        "before the row is written": (broker._payloads, "save"),
        "before the reference is sent": (broker.inner, "enqueue"),
        "before the payload is fetched": (broker._payloads, "find"),
        "before the message is forgotten": (broker.inner, "acknowledge"),
        "before the row is deleted": (broker._payloads, "delete"),
    }
    owner, name = faults[point]
    assert hasattr(owner, name)
    setattr(owner, name, die)
    broker.enqueue([Message("x" * 5000)])
    (delivery,) = broker.lease(1, wait=5.0)
    broker.acknowledge([delivery.receipt])


main(json.loads(sys.argv[2]), sys.argv[3])
