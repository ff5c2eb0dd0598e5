"""What is done before the first fork: it must neither connect to anything nor stop a cluster."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import pytest
from django.db import connections
from django.dispatch import Signal

from django_cluster.client.client import get_client
from django_cluster.cluster.bootstrap.warmup import warm_up
from django_cluster.cluster.roles.heartbeat import versions
from django_cluster.core.settings import BrokerSettings
from django_cluster.signals import post_execute_in_worker, pre_execute


def open_connections() -> list[object]:
    return [each.connection for each in connections.all(initialized_only=True) if each.connection is not None]


def test_a_rehearsal_opens_no_connection() -> None:
    """The database is closed to unit tests, and nobody is at this address of Redis."""
    broker = BrokerSettings(name="c", queue="q", kind="redis", options={"url": "redis://nobody.invalid:1/0"})
    before = open_connections()

    warm_up(replace(get_client().settings, broker=broker))

    assert open_connections() == before
    assert "django_cluster.stores.orm_writer" in sys.modules


@pytest.mark.parametrize("signal", [pre_execute, post_execute_in_worker], ids=["pre_execute", "post_execute_in_worker"])
def test_receivers_are_not_told_of_the_task_that_warms_up(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "django_cluster")
    told: list[object] = []

    def receiver(**facts: object) -> None:
        told.append(facts["func"])

    signal.connect(receiver)
    try:
        warm_up(get_client().settings)
    finally:
        signal.disconnect(receiver)

    assert told == []
    assert "Warm-up before the first fork failed" not in caplog.text


def test_children_find_the_versions_and_the_adapter_of_what_waits() -> None:
    versions.cache_clear()

    warm_up(get_client().settings)

    assert versions.cache_info().currsize == 1
    assert "django_cluster.brokers.orm" in sys.modules


def test_a_rehearsal_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "django_cluster")
    broker = BrokerSettings(name="c", queue="q", kind="no.such.Broker")

    warm_up(replace(get_client().settings, broker=broker))

    assert "no.such.Broker" in caplog.text
