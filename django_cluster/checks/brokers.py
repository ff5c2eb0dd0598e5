"""Problems of one broker of the settings. Nothing is connected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured
from django.db import router

from django_cluster import conf
from django_cluster.brokers import adapter_class, open_broker
from django_cluster.brokers.option_keys import UnknownOption
from django_cluster.checks.redis_servers import shared_database
from django_cluster.core.settings import BrokerSettings, problems
from django_cluster.errors import Problem
from django_cluster.models import QueuedTask


def problems_of_broker(broker: BrokerSettings) -> Iterator[Problem]:
    """All that is wrong with this section."""
    for find in (_bad_class, _tables_elsewhere, _misspelt_keywords, _unusable_options, shared_database):
        yield from find(broker)


def _bad_class(broker: BrokerSettings) -> Iterator[Problem]:
    """A ``broker_class`` that cannot be imported, or is no broker."""
    if not broker.class_path and "." not in broker.kind:
        return
    try:
        adapter_class(broker)
    except ImproperlyConfigured as error:
        yield Problem(problems.BAD_BROKER_CLASS, "broker_class", f"broker_class cannot be used: {error}")


def _tables_elsewhere(broker: BrokerSettings) -> Iterator[Problem]:
    """A queue in a database for which the routers of the project refuse its tables."""
    alias = broker.options.get("alias") if broker.kind == "orm" else None
    if alias in conf.databases() and not router.allow_migrate_model(alias, QueuedTask):
        sentence = (
            f"The queue is in the database {alias!r}, and the database routers do not let its tables be made there."
        )
        hint = "Put 'django_cluster.routers.ClusterRouter' first in DATABASE_ROUTERS."
        yield Problem(problems.TABLES_ELSEWHERE, "orm", sentence, hint)


def _misspelt_keywords(broker: BrokerSettings) -> Iterator[Problem]:
    """Keywords that the installed redis-py does not know: no process of a cluster could start."""
    if broker.kind != "redis":
        return
    with suppress(ImportError):  # a missing library is reported where it is used
        from django_cluster.brokers.redis_clients import unknown_keywords

        for name, near in unknown_keywords(broker.options).items():
            sentence = f"redis has the keyword {name!r}, which redis-py does not know."
            yield Problem(problems.UNKNOWN_KEY, "redis", sentence, f"Did you mean {near!r}?" if near else "")


def _unusable_options(broker: BrokerSettings) -> Iterator[Problem]:
    """Keys and values inside the options of a broker with which no process could open it. Connects to nothing."""
    if broker.kind in ("orm", "memory", "redis") or "." in broker.kind:
        return
    try:
        adapter_class(broker)
    except ImproperlyConfigured:
        return  # a missing library is reported where it is used
    place = f"brokers[{broker.alias!r}]." if broker.alias else ""
    key = {"disque": "disque_nodes"}.get(broker.kind, broker.kind)
    try:
        open_broker(broker)
    except UnknownOption as error:
        yield Problem(problems.UNKNOWN_KEY, key, place + str(error))
    except ImproperlyConfigured as error:
        yield Problem(problems.BAD_VALUE, key, place + str(error))
