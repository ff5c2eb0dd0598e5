"""The queues that a test may have sent to: those of the settings, and any other that a task has named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from django_cluster.brokers.base import Broker
from django_cluster.client.client import Client, get_client
from django_cluster.conf import known_queues
from django_cluster.core.messages import TaskPackage
from django_cluster.core.settings.test_queues import is_test_process
from django_cluster.signals import pre_enqueue

_named: set[tuple[str | None, str | None]] = set()
"""The queue and the broker that tasks of this process have named since this module was imported."""


class TestedQueue(NamedTuple):
    """A queue at one broker, and the client that sends to it."""

    client: Client
    broker: Broker


def queues_under_test(queue: str | None = None, *, act: str = "") -> list[TestedQueue]:
    """The queue of this name; None: every queue that the settings know or a task has named.

    ``act``: what is about to be done there, if it is more than looking; outside of tests it raises ``RuntimeError``.
    """
    if act and not is_test_process():
        raise RuntimeError(f"{act} is for tests: here it would take tasks out of the real queue.")
    return list(_found(queue))


def _found(queue: str | None) -> Iterator[TestedQueue]:
    root = get_client().settings.queue
    names = [queue] if queue else [*known_queues(), *sorted({name for name, _ in _named if name})]
    for name in dict.fromkeys(names):
        client = get_client(None if name == root else name)
        yield TestedQueue(client, client.broker)
        for alias in sorted({alias for at, alias in _named if alias and (at or root) == name}):
            if alias in client.settings.brokers:
                yield TestedQueue(client, client.broker_named(alias))


def _note(*, task: TaskPackage, **_: Any) -> None:
    _named.add((task.header.options.queue, task.header.options.broker))


pre_enqueue.connect(_note, weak=False, dispatch_uid=__name__)
