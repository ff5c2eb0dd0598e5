"""What ``manage.py qcluster`` refuses before it starts a process."""

from __future__ import annotations

import sys

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings


def test_a_library_that_is_missing_is_named_once_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amqp", None)
    for module in ("rabbitmq", "rabbitmq_connection", "rabbitmq_unacked"):
        monkeypatch.delitem(sys.modules, f"django_cluster.brokers.{module}", raising=False)

    broker = override_settings(Q_CLUSTER={"rabbitmq": "amqp://localhost"})
    with broker, pytest.raises(CommandError, match=r"pip install 'django-cluster\[rabbitmq\]'"):
        call_command("qcluster", skip_checks=True)


def test_a_queue_in_memory_is_refused_because_nobody_could_send_to_it() -> None:
    memory = override_settings(Q_CLUSTER={"broker": "memory", "name": "shop"})
    with memory, pytest.raises(CommandError, match="The queue shop is in the memory of the sending process"):
        call_command("qcluster", skip_checks=True)
