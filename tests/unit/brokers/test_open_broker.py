"""From a section of the settings to a broker."""

from __future__ import annotations

import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers import ADAPTERS, broker_class, open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.core.broker_choice import KINDS
from django_cluster.core.settings import BrokerSettings


class HouseBroker(MemoryBroker):
    """A broker class of a project."""


def test_a_name_of_the_table_opens_its_adapter() -> None:
    broker = open_broker(BrokerSettings(kind="memory", queue="letters"))

    assert type(broker) is MemoryBroker
    assert broker.queue == "letters"


def test_a_dotted_path_opens_a_class_of_the_project() -> None:
    assert type(open_broker(BrokerSettings(kind=f"{__name__}.HouseBroker"))) is HouseBroker


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
    for module in ("redis", "redis_link", "redis_scripts"):
        monkeypatch.delitem(sys.modules, f"django_cluster.brokers.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ImproperlyConfigured, match=r"pip install django-cluster\[redis\]"):
        open_broker(BrokerSettings(kind="redis"))
