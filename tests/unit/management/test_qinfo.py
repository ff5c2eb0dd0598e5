"""``qinfo --config``: whatever a broker or a reporter is told, its secrets stay with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

SECRET = "hush-hush"
TOLD: dict[str, dict[str, Any]] = {
    "redis, a URL": {"redis": f"redis://ann:{SECRET}@localhost/0"},
    "redis, keywords": {"redis": {"host": "localhost", "password": SECRET}},
    "sentinels": {"redis": {"sentinels": [["localhost", 26379]], "master": "main", "password": SECRET}},
    "rabbitmq": {"rabbitmq": f"amqp://ann:{SECRET}@localhost/"},
    "sqs": {"sqs": {"aws_access_key_id": SECRET, "aws_secret_access_key": SECRET, "aws_region": "eu-west-1"}},
    "mongo, a URL": {"mongo": f"mongodb://ann:{SECRET}@localhost/"},
    "mongo, keywords": {"mongo": {"host": "localhost", "username": "ann", "password": SECRET}},
    "iron_mq": {"iron_mq": {"token": SECRET, "project_id": SECRET}},
    "disque": {"disque_nodes": ["localhost:7711"], "disque_auth": SECRET},
    "broker_url": {"broker_url": f"redis://ann:{SECRET}@localhost/0"},
    "brokers": {"orm": "default", "brokers": {"other": {"redis": f"redis://:{SECRET}@localhost"}}},
    "another cluster": {"orm": "default", "ALT_CLUSTERS": {"long": {"redis": f"redis://:{SECRET}@localhost"}}},
    "reporters": {
        "orm": "default",
        "error_reporter": {"sentry": {"dsn": f"https://{SECRET}@localhost/1"}, "rollbar": {"access_token": SECRET}},
    },
}


@pytest.mark.parametrize("cluster", [None, "long"])
@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
def test_no_secret_is_printed(told: dict[str, Any], cluster: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with override_settings(Q_CLUSTER=told, SECRET_KEY=SECRET, SECRET_KEY_FALLBACKS=[SECRET]):
        call_command("qinfo", config=True, name=cluster)
        call_command("qinfo", config=True, json=True, name=cluster)

    printed = capsys.readouterr().out
    assert "broker" in printed
    assert SECRET not in printed


@pytest.mark.parametrize("command", ["qinfo", "qmonitor", "qmemory"])
def test_settings_that_cannot_be_used_are_a_sentence_without_secrets(command: str) -> None:
    told = {"wrkers": 1, "redis": f"nonsense://ann:{SECRET}@localhost", "sqs": f"{SECRET}"}

    with override_settings(Q_CLUSTER=told), pytest.raises(CommandError, match="Did you mean 'workers'") as caught:
        call_command(command)

    assert SECRET not in str(caught.value)


def test_each_setting_names_its_origin_also_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("Q_CLUSTER_RETRY", "77")
    alternatives = {"long": {"timeout": 900}}
    with override_settings(Q_CLUSTER={"orm": "default", "workers": 3, "ALT_CLUSTERS": alternatives}):
        call_command("qinfo", config=True, json=True, name="long")

    rows = json.loads(capsys.readouterr().out)
    assert rows["workers"] == {"value": "3", "origin": "setting workers"}
    assert rows["retry"] == {"value": "77.0", "origin": "environment Q_CLUSTER_RETRY"}
    assert rows["guard_cycle"]["origin"] == "default"
    assert rows["timeout"]["value"] == "900.0"
    assert "ALT_CLUSTERS" in rows["timeout"]["origin"]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"broker_url": "redis://127.0.0.1:6399/3"}, "redis://127.0.0.1:6399/3"),
        ({"redis": f"redis://:{SECRET}@h"}, "redis://:********@h"),
        ({"rabbitmq": f"amqp://ann:{SECRET}@h:5672/shop"}, "amqp://ann:********@h:5672/shop"),
        ({"mongo": f"mongodb://ann:{SECRET}@h/q"}, "mongodb://ann:********@h/q"),
        ({"disque_nodes": ["h:7711"], "disque_auth": SECRET}, "h:7711"),
        ({"orm": "default", "error_reporter": {"rollbar": {"access_token": SECRET, "environment": "live"}}}, "live"),
    ],
)
def test_of_an_address_only_the_credentials_are_masked(
    told: dict[str, Any], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with override_settings(Q_CLUSTER=told):
        call_command("qinfo", config=True)

    printed = capsys.readouterr().out
    assert shown in printed
    assert SECRET not in printed
