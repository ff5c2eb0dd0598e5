"""The broker of docs/how-to/write-a-broker.md passes the contract, and a cluster can use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from django_cluster import async_task, fetch
from django_cluster.brokers.base import Broker
from django_cluster.client.client import get_client
from django_cluster.core.settings import BrokerSettings
from django_cluster.testing.contracts import BrokerContract, Opener, UnreachableContract
from django_cluster.testing.drain import drain
from tests.docs.own_broker import FileBroker

PATH = "tests.docs.own_broker.FileBroker"


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QUEUE_FILE", str(tmp_path / "queue.sqlite3"))


# contract begins
class TestFileBroker(BrokerContract, UnreachableContract):
    @pytest.fixture
    def open_another(self, file: None) -> Iterator[Opener]:
        section = BrokerSettings(kind=PATH, queue=uuid4().hex, poll=0.05)
        opened: list[Broker] = []

        def open_another(**changes: Any) -> Broker:
            opened.append(FileBroker(replace(section, **changes)))
            return opened[-1]

        yield open_another
        for broker in opened:
            broker.close()

    @pytest.fixture
    def unreachable(self, monkeypatch: pytest.MonkeyPatch) -> Broker:
        monkeypatch.setenv("QUEUE_FILE", "/nowhere/queue.sqlite3")
        return FileBroker(BrokerSettings(kind=PATH))


# contract ends


@pytest.mark.django_db(transaction=True)
def test_a_project_that_names_the_class_uses_it(settings: Any, file: None) -> None:
    settings.Q_CLUSTER = {"name": "shop", "broker_class": PATH}

    task_id = async_task("math.gcd", 21, 14)
    assert get_client().broker.size().ready == 1
    drain()

    task = fetch(task_id)
    assert task is not None
    assert task.result == 7
    get_client().broker.close()
