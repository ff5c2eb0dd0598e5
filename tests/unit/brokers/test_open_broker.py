"""From a section of the settings to a broker."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_cluster.brokers import ADAPTERS, broker_class, open_broker, shipped_kind
from django_cluster.brokers.base import Broker
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.orm import OrmBroker
from django_cluster.brokers.redis import RedisBroker
from django_cluster.checks.settings import validate_config
from django_cluster.core.settings import BrokerSettings
from django_cluster.core.settings.brokers import KINDS
from django_cluster.core.settings.parser import parse


class HouseBroker(MemoryBroker):
    """A broker class of a project."""


def test_a_name_of_the_table_opens_its_adapter() -> None:
    broker = open_broker(BrokerSettings(kind="memory", queue="letters"))

    assert type(broker) is MemoryBroker
    assert broker.queue == "letters"


def test_a_dotted_path_opens_a_class_of_the_project() -> None:
    assert type(open_broker(BrokerSettings(kind=f"{__name__}.HouseBroker"))) is HouseBroker


class HouseRedis(RedisBroker):
    """A child of a shipped broker, in a project."""


class HouseOrm(OrmBroker):
    """Another."""


OwnBroker = type("OwnBroker", (Broker,), dict.fromkeys(Broker.__abstractmethods__))
"""No child of any shipped broker."""


@pytest.mark.parametrize(
    ("q_cluster", "kind"),
    [
        ({"broker_class": f"{__name__}.HouseRedis", "redis": {"host": "h.invalid", "port": 7}}, HouseRedis),
        ({"broker_class": f"{__name__}.HouseOrm", "orm": "default"}, HouseOrm),
        ({"broker_class": f"{__name__}.HouseBroker"}, HouseBroker),
        ({"broker_class": f"{__name__}.OwnBroker", "redis": "redis://h.invalid:7/0"}, OwnBroker),
    ],
)
def test_a_child_of_a_shipped_broker_gets_the_options_of_its_parents_key(q_cluster: Any, kind: type[Broker]) -> None:
    broker = open_broker(parse(q_cluster, secret="s").broker)

    assert type(broker) is kind
    if isinstance(broker, HouseRedis):
        assert "h.invalid:7" in broker._connection.address
    if isinstance(broker, HouseOrm):
        assert (broker.database, shipped_kind(broker.settings)) == ("default", "orm")


@pytest.mark.parametrize(
    "q_cluster",
    [
        {"broker_class": f"{__name__}.HouseRedis", "orm": "default"},
        {"broker_class": f"{__name__}.HouseOrm", "redis": "redis://h"},
    ],
)
def test_options_for_another_kind_than_the_parent_are_refused(q_cluster: Any) -> None:
    section = parse(q_cluster, secret="s").broker

    with pytest.raises(ImproperlyConfigured, match=r"descends from the broker .* the options beside it are for"):
        open_broker(section)
    with override_settings(Q_CLUSTER=q_cluster):
        assert "django_cluster.E011" in [message.id for message in validate_config()]


def test_a_child_that_stands_alone_is_still_known_by_its_parent() -> None:
    assert shipped_kind(BrokerSettings(kind=f"{__name__}.HouseOrm")) == "orm"
    assert shipped_kind(BrokerSettings(kind=f"{__name__}.OwnBroker")) == ""


def test_every_kind_that_the_settings_know_has_an_adapter() -> None:
    assert set(KINDS) == set(ADAPTERS)
    assert all(issubclass(broker_class(kind), Broker) for kind in KINDS)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("reddis", "no broker 'reddis'.*disque, iron_mq, memory, mongo, orm, rabbitmq, redis"),
        ("no.such.module.Broker", "cannot be imported"),
        ("django_cluster.brokers.memory.NoSuchBroker", "cannot be imported"),
        ("collections.OrderedDict", "not a subclass"),
        ("os.path.join", "not a subclass"),
        (".", "cannot be imported"),
    ],
)
def test_a_kind_that_cannot_be_opened_is_named_with_its_reason(kind: str, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        open_broker(BrokerSettings(kind=kind))


def test_a_missing_library_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("django_cluster.brokers.redis")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-cluster\[redis\]'"):
        open_broker(BrokerSettings(kind="redis"))
