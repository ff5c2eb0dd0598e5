"""Brokers with the methods of Django-Q's brokers: one message per call, as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from django_cluster.brokers import broker_class_for
from django_cluster.brokers.base import Broker as BaseBroker
from django_cluster.brokers.base import Message
from django_cluster.conf import load_settings

if TYPE_CHECKING:
    _Base = BaseBroker
else:
    _Base = object


class Broker(_Base):
    """The configured broker with Django-Q's methods in addition, as ``get_broker`` returns it.

    Not a base for brokers of your own; that is ``django_cluster.brokers.base.Broker``. It is mixed into the class of
    the configured broker (``_with_django_q_methods``), which ``super()`` means.
    """

    @property
    def list_key(self) -> str:
        return self.queue

    @property
    def cache(self) -> BaseCache:
        return self.get_cache()

    @staticmethod
    def get_cache() -> BaseCache:
        return caches[load_settings().results.cache]

    def enqueue(self, task: str | Sequence[Message]) -> Any:
        """Enqueue a signed package (text, as in Django-Q) or messages."""
        super().enqueue([Message(task)] if isinstance(task, str) else task)  # type: ignore[safe-super]  # see above

    def dequeue(self) -> list[tuple[str, str]]:
        """Lease messages; returns pairs of (receipt, signed package)."""
        return [(each.receipt, each.payload) for each in self.lease(min(self.settings.bulk, 10))]

    def acknowledge(self, task_id: str | Sequence[str]) -> None:
        super().acknowledge(_several(task_id))  # type: ignore[safe-super]  # see above

    def delete(self, task_id: str) -> None:
        super().acknowledge([task_id])  # type: ignore[safe-super]  # see above

    def fail(self, task_id: str) -> None:
        super().discard([task_id])

    def queue_size(self) -> int:
        return self.size().ready

    def lock_size(self) -> int:
        return self.size().leased

    def purge_queue(self) -> int:
        return self.purge()

    def delete_queue(self) -> int:
        return self.purge()

    def ping(self) -> bool:  # type: ignore[override]  # there it says True
        super().ping()  # type: ignore[safe-super]  # see above
        return True


def get_broker(list_key: str | None = None) -> Broker:
    """A broker of the queue that is named, or of the configured one."""
    section = load_settings(list_key).broker
    return _with_django_q_methods(broker_class_for(section))(section)


@cache
def _with_django_q_methods(kind: type[BaseBroker]) -> type[Broker]:
    return type(kind.__name__, (Broker, kind), {})


def _several(receipts: str | Sequence[str]) -> Sequence[str]:
    return [receipts] if isinstance(receipts, str) else receipts
