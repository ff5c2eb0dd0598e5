"""What is said of a server that does not answer names the server, and never the password."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from django_cluster.brokers import open_broker
from django_cluster.conf import load_settings
from django_cluster.errors import BrokerUnavailable

SECRET = "hush-4711"
NOWHERE = "127.0.0.1:1"
SERVERS: dict[str, dict[str, Any]] = {
    "redis, a URL": {"redis": f"redis://ann:{SECRET}@{NOWHERE}/0"},
    "redis, a password with signs": {"redis": f"redis://:{SECRET}%2F%40x@{NOWHERE}/0"},
    "redis, keywords": {"redis": {"host": "127.0.0.1", "port": 1, "password": SECRET}},
    "sentinels": {"redis": {"sentinels": [["127.0.0.1", 1]], "master": "m", "password": SECRET}},
    "rabbitmq": {"rabbitmq": f"amqp://ann:{SECRET}@{NOWHERE}//"},
    "mongo": {"mongo": f"mongodb://ann:{SECRET}@{NOWHERE}/?serverSelectionTimeoutMS=300"},
    "iron_mq": {"iron_mq": {"token": SECRET, "project_id": "p", "host": "127.0.0.1", "port": 1, "protocol": "http"}},
    "disque": {"disque_nodes": [NOWHERE], "disque_auth": SECRET},
}
OPTIONS: dict[str, dict[str, Any]] = {"check": {"deploy": True}, "qmove": {"target": "orm://default"}}


@pytest.mark.parametrize("told", SERVERS.values(), ids=SERVERS)
def test_neither_the_error_nor_its_traceback_nor_the_broker_shows_the_password(told: dict[str, Any]) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", **told}):
        broker = open_broker(load_settings().broker)
        with pytest.raises(BrokerUnavailable) as caught:
            broker.size()
        broker.close()

    assert "127.0.0.1" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in f"{broker!r} {broker.settings!r}"
    assert not [name for name, value in vars(broker).items() if SECRET in repr(value)]


@pytest.mark.django_db
@pytest.mark.parametrize("told", [SERVERS["redis, a URL"], SERVERS["rabbitmq"]], ids=["redis", "rabbitmq"])
@pytest.mark.parametrize("command", ["check", "qinfo", "qmove"])
def test_no_command_prints_the_password(command: str, told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with override_settings(Q_CLUSTER={"name": "tests", **told}):
        try:
            call_command(command, **OPTIONS.get(command, {}))
            said = ""
        except Exception as error:  # noqa: BLE001  whatever a command says
            said = str(error)

    printed = capsys.readouterr()
    assert printed.out or printed.err or said
    assert SECRET not in printed.out + printed.err + said
