"""Brokers with the methods of Django-Q's brokers: one message per call, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from hashlib import sha256
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from django_cluster.brokers import ADAPTERS, broker_class, broker_class_for, shipped_kinds_of
from django_cluster.brokers.base import Broker as BaseBroker
from django_cluster.brokers.messages import Message
from django_cluster.conf import as_written, load_settings
from django_cluster.core.codec import peek_header
from django_cluster.core.settings import BrokerSettings
from django_cluster.core.settings.brokers import SELECTORS
from django_cluster.django_q.shim.adapted_broker import AdaptedBroker, adapter_of
from django_cluster.errors import PackageError

TASK_ID = re.compile(r"[0-9a-f]{32}")
MOST_SEARCHED = 10_000
"""Messages of a queue among which a task is looked for by its id."""
DEFAULTS = {"orm": "default"}
"""Key of ``Q_CLUSTER`` → its value where it is not written; for others an empty dict."""


class Broker:
    """Base for brokers that are written for Django-Q, and what ``get_broker`` returns.

    A class that inherits from it, and is named by ``broker_class``, is used through an adapter (``adapted_broker``).
    """

    list_key: Any
    """The name of the queue."""

    def __init__(self, list_key: str | None = None) -> None:
        self.list_key = list_key or load_settings().queue
        self.connection = self.get_connection(self.list_key)
        self._info: str | None = None

    @classmethod
    def adapter_class(cls) -> type[BaseBroker]:
        """The broker of this package that calls a broker of this class."""
        return adapter_of(cls)

    @cached_property
    def cache(self) -> BaseCache:
        return self.get_cache()

    @staticmethod
    def get_cache() -> BaseCache:
        return caches[load_settings().results.cache]

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """The connection of a broker; overridden by those that have one."""
        return 0

    def enqueue(self, task: Any) -> Any:
        """Put a text into the queue; returns an id."""

    def dequeue(self) -> Sequence[tuple[Any, str]] | None:
        """Returns pairs of (receipt, text), or None if the queue is empty."""

    def queue_size(self) -> int | None:
        """Number of waiting messages."""

    def lock_size(self) -> int | None:
        """Number of messages that were delivered and not acknowledged."""

    def delete_queue(self) -> Any:
        """Delete the queue."""

    def purge_queue(self) -> Any:
        """Delete all waiting messages."""

    def delete(self, task_id: Any) -> Any:
        """Delete a message by its id or receipt."""

    def acknowledge(self, task_id: Any) -> Any:
        """Delete a message that was done, by its receipt."""

    def fail(self, task_id: Any) -> Any:
        """Delete a message that can never be run, by its receipt."""

    def ping(self) -> Any:
        """Whether the server answers."""

    def info(self) -> Any:
        """The server, in words."""
        return self._info


class DjangoQMethods(Broker):
    """The methods of Django-Q's brokers, mixed into an adapter of this package (``class_of``).

    ``super(Broker, self)`` is that adapter.
    """

    settings: BrokerSettings
    queue: str

    def __init__(self, list_key: str | BrokerSettings | None = None) -> None:
        section = list_key if isinstance(list_key, BrokerSettings) else section_for(type(self), list_key)
        self._as_adapter().__init__(section)

    def _as_adapter(self) -> Any:
        return super(Broker, self)

    @property
    def list_key(self) -> Any:
        return self.queue

    @list_key.setter
    def list_key(self, name: str) -> None:
        self._as_adapter().close()
        self._as_adapter().__init__(replace(self.settings, queue=name))

    def enqueue(self, task: str | Sequence[Message]) -> str | None:
        """Enqueue a signed package (text, as in Django-Q) or messages. Returns the id of the package's task."""
        if not isinstance(task, str):
            self._as_adapter().enqueue(task)
            return None
        self._as_adapter().enqueue([Message(task)])
        return id_of(task)

    def dequeue(self) -> list[tuple[str, str]] | None:
        """Lease messages; returns pairs of (receipt, signed package), or None if there are none."""
        leased = self._as_adapter().lease(min(self.settings.bulk, 10))
        return [(each.receipt, each.payload) for each in leased] or None

    def acknowledge(self, task_id: str | Sequence[str]) -> None:
        """Delete messages by their receipts, or one by the id that ``enqueue`` has returned."""
        receipts = [task_id] if isinstance(task_id, str) else task_id
        self._as_adapter().acknowledge([each for each in receipts if not self._cancelled(each)])

    def delete(self, task_id: str) -> None:
        self.acknowledge(task_id)

    def fail(self, task_id: str) -> None:
        if not self._cancelled(task_id):
            self._as_adapter().discard([task_id])

    def _cancelled(self, task_id: str) -> bool:
        """Delete the waiting message of this task; False if there is none, or the broker cannot do it."""
        if not TASK_ID.fullmatch(task_id) or not self._as_adapter().capabilities.cancel:
            return False
        waiting = self._as_adapter().peek(MOST_SEARCHED)
        keys = [each.key for each in waiting if each.key and id_of(each.payload) == task_id]
        return bool(keys) and bool(self._as_adapter().cancel(keys))

    def queue_size(self) -> int:
        return int(self._as_adapter().size().ready)

    def lock_size(self) -> int:
        return int(self._as_adapter().size().leased)

    def purge_queue(self) -> int:
        return int(self._as_adapter().purge())

    def delete_queue(self) -> int:
        return self.purge_queue()

    def ping(self) -> bool:
        self._as_adapter().ping()
        return True

    def info(self) -> str:
        return str(self._as_adapter().info())


def get_broker(list_key: str | None = None) -> Any:
    """A broker of the queue that is named, or of the configured one; a ``Broker``.

    Of a class that was written for Django-Q (``broker_class``), an instance as it is.
    """
    section = load_settings(list_key).broker
    found = broker_class_for(section)
    if issubclass(found, AdaptedBroker):
        return found.foreign(list_key=section.queue)
    return class_of(found)(section)


@cache
def class_of(kind: type[BaseBroker]) -> type[DjangoQMethods]:
    """The class of brokers of this kind that have Django-Q's methods."""
    return type(kind.__name__, (DjangoQMethods, kind), {})


def section_for(found: type, list_key: str | None) -> BrokerSettings:
    """The settings of a broker that is opened by its class, whichever broker is configured."""
    section = load_settings(list_key).broker
    (kind,) = shipped_kinds_of(found)
    if kind in (section.kind, *shipped_kinds_of(broker_class(section.kind))):
        return section
    choice = SELECTORS[kind].convert(as_written().get(kind) or DEFAULTS.get(kind, {}))
    return replace(section, kind=choice.kind, class_path="", options=choice.options, alias="")


def id_of(payload: str) -> str:
    """The id of the task in a signed package; of other texts, one that follows from the text."""
    try:
        return peek_header(payload).id
    except PackageError:
        return sha256(payload.encode("utf-8", "replace")).hexdigest()[:32]


KINDS = {"Redis": "redis", "ORM": "orm", "Sqs": "sqs", "Mongo": "mongo", "IronMQBroker": "iron_mq"}
"""The names of Django-Q's classes → the adapters of this package."""


def __getattr__(name: str) -> type[DjangoQMethods]:
    """Django-Q's class, when it is asked for: its client library need not be installed before."""
    if name not in KINDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return class_of(broker_class(ADAPTERS[KINDS[name]]))
