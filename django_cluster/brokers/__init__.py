"""``open_broker``: the broker that a section of the settings describes.

``ADAPTERS`` has the dotted paths of the adapters. Each is imported when it is opened, so that a project needs the
client library of its own server only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module

from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.base import Broker
from django_cluster.brokers.multi_queue import MultiQueueBroker
from django_cluster.core.settings import BrokerSettings, Settings
from django_cluster.errors import NotSupported

ADAPTERS = {
    "disque": "django_cluster.brokers.disque.DisqueBroker",
    "iron_mq": "django_cluster.brokers.ironmq.IronMQBroker",
    "memory": "django_cluster.brokers.memory.MemoryBroker",
    "mongo": "django_cluster.brokers.mongo.MongoBroker",
    "orm": "django_cluster.brokers.orm.OrmBroker",
    "redis": "django_cluster.brokers.redis.RedisBroker",
    "rabbitmq": "django_cluster.brokers.rabbitmq.RabbitBroker",
    "sqs": "django_cluster.brokers.sqs.SqsBroker",
}
"""Kinds that can be opened, and where they live."""

EXTRAS = {
    "amqp": "rabbitmq",
    "boto3": "sqs",
    "botocore": "sqs",
    "bson": "mongo",
    "pymongo": "mongo",
    "redis": "redis",
    "urllib3": "ironmq",
}
"""The library that an adapter needs, and the extra that installs it."""


def open_broker(section: BrokerSettings) -> Broker:
    """The broker that this section describes. It opens its connection when it is first used."""
    return broker_class_for(section)(section)


def open_brokers(settings: Settings) -> Broker:
    """Open what a cluster leases from: the broker of its queue, or a ``MultiQueueBroker`` for several."""
    if not settings.queue_settings:
        return open_broker(settings.broker)
    members = [open_broker(share.broker) for share in settings.queue_settings]
    return MultiQueueBroker(members, [share.weight for share in settings.queue_settings])


def broker_section(brokers: Mapping[str, BrokerSettings], alias: str, queue: str) -> BrokerSettings:
    """A queue on the server that ``brokers`` calls so; raises ``NotSupported`` for a name that is not there."""
    if alias not in brokers:
        known = ", ".join(map(repr, sorted(brokers))) or "none"
        raise NotSupported(f"There is no broker named {alias!r} in brokers; known: {known}.")
    return replace(brokers[alias], queue=queue)


def broker_class(kind: str) -> type[Broker]:
    """The class behind a name of ``ADAPTERS`` or behind a dotted path."""
    path = ADAPTERS.get(kind, kind)
    if "." not in path:
        raise ImproperlyConfigured(f"There is no broker {kind!r}: write one of {_names()}, or a dotted path.")
    found = _import(path)
    if isinstance(found, type) and not issubclass(found, Broker) and hasattr(found, "adapter_class"):
        found = found.adapter_class()  # written for the interface of Django-Q
    if not (isinstance(found, type) and issubclass(found, Broker)):
        raise ImproperlyConfigured(f"{path} is not a subclass of django_cluster.brokers.base.Broker.")
    return found


def adapter_class(section: BrokerSettings) -> type[Broker]:
    """The shipped adapter of this section, or the class of the project that takes its place.

    Raises ``ImproperlyConfigured`` for one that descends from the adapter of another kind than its options are for.
    """
    if not section.class_path:
        return broker_class(section.kind)
    found = broker_class(section.class_path)
    parents = shipped_kinds_of(found)
    if parents and section.kind not in parents:
        raise ImproperlyConfigured(
            f"{section.class_path} descends from the broker {parents[0]!r}, and the options beside it are for"
            f" {section.kind!r}."
        )
    return found


class LibraryNotInstalled(ImproperlyConfigured):
    """A broker that comes with the package needs a library that is not installed; the text names the extra for it."""


def shipped_kind(section: BrokerSettings) -> str:
    """The kind of the shipped adapter that serves this section, itself or by a class that descends from it; or ""."""
    if section.kind in ADAPTERS:
        return section.kind
    return next(iter(shipped_kinds_of(broker_class(section.kind))), "")


def shipped_kinds_of(found: type[Broker]) -> list[str]:
    """The kinds of the shipped adapters from which a class descends, itself included. Imports nothing."""
    paths = {f"{each.__module__}.{each.__qualname__}" for each in found.__mro__}
    return [kind for kind, path in ADAPTERS.items() if path in paths]


def broker_class_for(section: BrokerSettings) -> type[Broker]:
    """The class behind this section: its adapter, or what keeps large payloads for it."""
    found = adapter_class(section)
    limited = section.offload_large_payloads is not True or found.capabilities.max_payload is not None
    if not section.offload_large_payloads or not limited or (section.kind == "orm" and not section.class_path):
        return found
    from django_cluster.brokers.payload_offload import OffloadingBroker

    return OffloadingBroker


def needs_delay_queue(section: BrokerSettings) -> bool:
    """Whether a scheduler must move messages from the delay queue: the broker cannot keep every delay by itself."""
    try:
        return adapter_class(section).capabilities.longest_delay < math.inf
    except ImproperlyConfigured:
        return False  # opening the broker raises the same


def _names() -> str:
    return ", ".join(sorted(ADAPTERS))


def _import(path: str) -> object:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in EXTRAS:
            raise LibraryNotInstalled(
                f"The broker {path} needs the library {library}: pip install 'django-cluster[{EXTRAS[library]}]'"
            ) from error
        raise ImproperlyConfigured(f"The broker {path} cannot be imported: {error}.") from error
    except (ImportError, AttributeError, ValueError) as error:
        raise ImproperlyConfigured(f"The broker {path} cannot be imported: {error}.") from error
