"""The asking side: one Django process ↔ one cluster.

A client is built once per thread and cluster, and keeps its connection. ``get_client`` is the only place
in the package that holds anything process-wide, and nothing below knows it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import cached_property

from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.conf import load_settings
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, Outcome, TaskPackage
from django_cluster.core.sealing import Seal
from django_cluster.core.settings import Settings
from django_cluster.errors import TaskFailed, TaskTimeout
from django_cluster.lifecycle.execute import Executor
from django_cluster.lifecycle.record import Recorder, run_hook, tell
from django_cluster.lifecycle.reporters import Reporters
from django_cluster.lifecycle.send import Sender
from django_cluster.stores import open_results
from django_cluster.stores.routed import RoutedResults


class Client:
    """Sends tasks to one cluster and reads their results. Opens its connections when first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def broker(self) -> Broker:
        return open_broker(self.settings.broker)

    @cached_property
    def results(self) -> RoutedResults:
        return open_results(self.settings.results, self.settings.queue)

    @cached_property
    def codec(self) -> Codec:
        return Codec(self.settings.signing)

    @cached_property
    def _sender(self) -> Sender:
        return Sender(self.codec, self.broker)

    def submit(
        self, packages: Sequence[TaskPackage], *, sync: bool | None = None, broker: Broker | None = None
    ) -> None:
        """Send, or with ``sync`` run here and now.

        Raises ``BrokerUnavailable`` within the broker's time-outs. With ``sync``, the first failure is raised
        as it was in the task, after it was recorded.
        """
        if self.settings.sync if sync is None else sync:
            for package in packages:
                self._run_here(package)
        elif broker is not None:
            Sender(self.codec, broker).send(packages)
        else:
            self._sender.send(packages)

    def _run_here(self, package: TaskPackage) -> None:
        """The same way as through a cluster, without the processes: signed, opened, executed, recorded."""
        settings, signing = self.settings, self.settings.signing
        executor = Executor(
            self.codec,
            Seal(signing.secret, signing.fallbacks, signing.serializer),
            Reporters(settings.reporters),
            timeout=settings.crew.timeout,
            worker=f"sync ({os.getpid()})",
        )
        job = Job(number=0, body=self.codec.verify(self.codec.dumps(package)), receipt="", attempt=1)
        outcome, error = executor.run_and_keep_error(job)
        tell(Recorder(self.results, None, settings.delivery).record([outcome]), self._hook)
        if isinstance(error, TaskTimeout):
            raise TaskFailed(str(error)) from error  # a BaseException must not end the caller's process
        if error is not None:
            raise error

    def _hook(self, outcome: Outcome) -> None:
        run_hook(outcome, self.results.get)


_clients = threading.local()


def get_client(cluster: str | None = None) -> Client:
    """This thread's client of a cluster (None: the one that the settings name).

    Built anew after a fork, whose child must not use its parent's connection, and when settings change.
    """
    settings = load_settings(cluster)
    known: dict[str | None, tuple[int, Client]] = _clients.__dict__.setdefault("known", {})
    pid, client = known.get(cluster, (0, None))
    if client is None or pid != os.getpid() or client.settings is not settings:
        client = Client(settings)
        known[cluster] = (os.getpid(), client)
    return client
