"""The names of queues while tests run: which are changed, and into what."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from django.test import override_settings

from django_cluster.brokers.sqs_options import SqsOptions
from django_cluster.conf import load_settings
from django_cluster.core.settings import BrokerSettings, test_queues
from django_cluster.core.settings.test_queues import sections_of, with_test_queues
from tests.conftest import make_settings

KINDS = ["redis", "sqs", "mongo", "rabbitmq", "ironmq", "disque", "app.brokers.Own"]


def broker(kind: str, name: str = "shop", **options: Any) -> BrokerSettings:
    return BrokerSettings(kind=kind, name=name, queue="mail", options=options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_on_a_server_gets_another_name(kind: str) -> None:
    settings = make_settings(broker=broker(kind, host="a"))
    settings = replace(settings, brokers={"b": broker(kind, host="b")}, queue_brokers={"c": broker(kind, host="c")})

    found = with_test_queues(settings, sections_of(settings), "test-1")

    assert [each.name for each in sections_of(found)] == ["shop-test-1"] * 3
    assert [each.queue for each in sections_of(found)] == ["mail"] * 3
    assert found.name == settings.name
    assert found.signing == settings.signing


@pytest.mark.parametrize("kind", ["orm", "memory"])
def test_a_queue_that_is_the_tests_own_anyhow_keeps_its_name(kind: str) -> None:
    settings = make_settings(broker=broker(kind))

    assert with_test_queues(settings, sections_of(settings), "test-1").broker == settings.broker


@pytest.mark.parametrize("other", [{"name": "mine"}, {"host": "elsewhere"}])
def test_what_a_test_has_named_itself_keeps_its_name(other: dict[str, Any]) -> None:
    settings = make_settings(broker=broker("redis", **other))

    assert with_test_queues(settings, [broker("redis")], "test-1").broker == settings.broker


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("", "shop-test-1-mail-6347d29d"),
        ("jobs", "jobs-test-1"),
        ("jobs.fifo", "jobs-test-1.fifo"),
        ("{queue}-x", "mail-x-test-1"),
        ("{name}_{queue}", "shop-test-1_mail"),
    ],
)
def test_a_queue_of_sqs_has_another_name_whatever_its_pattern(pattern: str, name: str) -> None:
    settings = make_settings(broker=broker("sqs", **({"queue_name": pattern} if pattern else {})))

    found = with_test_queues(settings, sections_of(settings), "test-1").broker

    options = SqsOptions(name_pattern=str(found.options.get("queue_name", "")))
    assert options.queue_name(found.name, found.queue) == name


def test_pytest_is_noticed_and_its_workers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(test_queues.VARIABLE, "")
    monkeypatch.setattr(test_queues, "_owner", 0)
    assert test_queues.is_test_process()
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    first = test_queues.suffix()
    test_queues.export_suffix(first)
    assert os.environ[test_queues.VARIABLE] == first
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")

    assert first.endswith("-gw0")
    assert test_queues.suffix() == first.replace("-gw0", "-gw1")
    assert test_queues.is_owner()


def test_what_a_test_names_itself_is_not_passed_on_to_its_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(test_queues.VARIABLE, raising=False)
    with override_settings(Q_CLUSTER={"name": "mine", "redis": {"host": "here"}}):
        assert load_settings().broker.name == "mine"
    assert test_queues.VARIABLE not in os.environ


def test_settings_that_were_read_before_the_tests_are_not_used_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(test_queues.VARIABLE, "")
    monkeypatch.setattr(test_queues, "_owner", 0)
    real = {"name": "shop", "redis": {"host": "here"}}
    monkeypatch.setattr("django_cluster.conf.loading.written_by_the_project", lambda: real)
    with override_settings(Q_CLUSTER=real):
        monkeypatch.setattr("django_cluster.conf.loading.suffix", lambda: "")
        assert load_settings().broker.name == "shop"
        monkeypatch.setattr("django_cluster.conf.loading.suffix", lambda: "test-1")
        assert load_settings().broker.name == "shop-test-1"
    with override_settings(Q_CLUSTER={**real, "max_attempts": 3}):
        assert load_settings().broker.name == "shop-test-1"
