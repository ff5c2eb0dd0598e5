"""Payload offloading, killed between any two of its steps: a row too many at most, and no payload lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from signal import SIGKILL
from uuid import uuid4

import pytest
from django.db import connections
from django.test import override_settings

from django_cluster.brokers import open_broker
from django_cluster.brokers.payload_offload import OffloadingBroker
from django_cluster.core.settings import BrokerSettings
from django_cluster.models import LargePayload
from tests.e2e.project import working_on
from tests.servers import SqsServer

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("dying_payload_offload.py")
FOREVER = 10**15
"""Microseconds: longer than any broker keeps a reference."""


@pytest.fixture
def broker(
    sqs_server: SqsServer, tmp_path: Path, django_db_blocker: pytest.FixtureRequest
) -> Iterator[OffloadingBroker]:
    section = BrokerSettings(
        kind="sqs", options=sqs_server.options, name="tests", queue=uuid4().hex, lease=1.0, offload_large_payloads=1000
    )
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "payloads.sqlite3")}
    with (
        django_db_blocker.unblock(),  # type: ignore[attr-defined]  # pytest-django's
        override_settings(SECRET_KEY="a secret for tests"),
        working_on(entry),
    ):
        with connections["default"].schema_editor() as editor:
            editor.create_model(LargePayload)
        opened = open_broker(section)
        assert isinstance(opened, OffloadingBroker)
        yield opened
        opened.close()


def die_at(point: str, broker: OffloadingBroker) -> None:
    entry = {name: connections.databases["default"][name] for name in ("ENGINE", "NAME")}
    arguments = [json.dumps(entry), json.dumps(asdict(broker.settings)), point]

    done = subprocess.run([sys.executable, PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == -SIGKILL, done.stderr


def payloads(broker: OffloadingBroker) -> list[str]:
    """What comes, when the lease of the dead process has ended."""
    deliveries = broker.lease(5, wait=2.5)
    broker.acknowledge([each.receipt for each in deliveries])
    return [each.payload for each in deliveries]


def test_killed_before_the_row_nothing_has_happened(broker: OffloadingBroker) -> None:
    die_at("before the row is written", broker)

    assert LargePayload.objects.count() == 0
    assert payloads(broker) == []


def test_killed_before_the_reference_a_row_is_left_until_the_broker_could_have_forgotten_it(
    broker: OffloadingBroker,
) -> None:
    die_at("before the reference is sent", broker)

    assert payloads(broker) == []
    assert broker.delete_expired() == 0
    row = LargePayload.objects.get()
    days = (row.keep_until - row.created_at) / 86_400e6 if row.keep_until else 0
    assert days == pytest.approx(15, abs=0.1)
    LargePayload.objects.update(keep_until=row.keep_until - FOREVER if row.keep_until else None)
    assert broker.delete_expired() == 1


@pytest.mark.parametrize("point", ["before the payload is fetched", "before the message is forgotten"])
def test_killed_while_it_is_leased_it_comes_again_whole(broker: OffloadingBroker, point: str) -> None:
    die_at(point, broker)

    assert payloads(broker) == ["x" * 5000]
    assert LargePayload.objects.count() == 0


def test_killed_before_the_row_is_deleted_the_row_is_left(broker: OffloadingBroker) -> None:
    die_at("before the row is deleted", broker)

    assert payloads(broker) == []
    assert LargePayload.objects.count() == 1
