"""The client: sends the tasks of one Django process to a queue, and reads their results.

A client is built once per thread and queue, and keeps its connection. ``get_client`` is the only process-wide state of
the package, and no module below knows it.

A task that is sent inside a transaction must not run before its commit, nor after its rollback: either the queue is
part of the transaction, or the message is sent after the commit (``SendOnCommit``).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import Any
from uuid import uuid4

from django.db import connections

from django_cluster.brokers import broker_section, open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.client.batch import current_batch
from django_cluster.client.on_commit import send_on_commit
from django_cluster.client.pending_sends import PendingSend, TrackedRows, deliver
from django_cluster.conf import load_settings
from django_cluster.core.codec import CONTINUATION, Codec
from django_cluster.core.compositions import GroupPlan
from django_cluster.core.current_task import RunEnvironment, checkpoint_signer
from django_cluster.core.messages import Job, Outcome, TaskPackage
from django_cluster.core.settings import BrokerSettings, Settings
from django_cluster.core.settings.test_queues import is_owner, suffix
from django_cluster.core.signing import ValueSigner
from django_cluster.errors import BrokerError, TaskCancelled, TaskFailed, TaskTimeout
from django_cluster.lifecycle.admission import check_functions
from django_cluster.lifecycle.continuations import Continuations, Forward
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.notification import notify, run_hook
from django_cluster.lifecycle.recorder import Recorder
from django_cluster.lifecycle.send import AddressedMessage, QueueSender, TaskRouter, announced, pack
from django_cluster.lifecycle.task_context import InitialContext
from django_cluster.lifecycle.tracking import RunTracker, details_of, worker_id
from django_cluster.models import TrackedTask
from django_cluster.stores import open_results
from django_cluster.stores.routed import RoutedResults
from django_cluster.stores.tracked import SendingDetails, new_row

NO_DETAILS: Mapping[str, SendingDetails] = {}


class Client:
    """Sends tasks to one queue and reads their results. Opens its connections when they are first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._named: dict[str, QueueSender] = {}
        self._name = f"client {uuid4().hex}"

    @cached_property
    def broker(self) -> Broker:
        return opened(self.settings.broker)

    @cached_property
    def results(self) -> RoutedResults:
        return open_results(self.settings.results)

    @cached_property
    def codec(self) -> Codec:
        return Codec(self.settings.signing)

    @cached_property
    def _sender(self) -> QueueSender:
        return QueueSender(self.codec, self.broker)

    def submit(
        self,
        packages: Sequence[TaskPackage],
        *,
        group: GroupPlan | None = None,
        sync: bool | None = None,
        broker: Broker | str | None = None,
        on_commit: bool | str | None = None,
        details: Mapping[str, SendingDetails] = NO_DETAILS,
    ) -> None:
        """Send packages, now or after the commit of the transaction; with ``sync`` run them in this process.

        ``broker``: a broker, or a name in the setting ``brokers``; None = that of the queue. ``group``: the plan of
        the group whose members the packages are. ``on_commit``: False, True, or the alias of a database. ``details``:
        by task id, for the rows of tracked tasks.

        Raises ``BrokerUnavailable`` within the timeouts of the broker; if the commit was awaited, the ``atomic`` block
        raises it. With ``sync``, the first failure is raised as it was in the task, after it was recorded; it ends a
        batch, but no composition.
        """
        if self.settings.track_tasks:
            packages = [
                each if each.header.options.track is not None else each.with_options(track=True) for each in packages
            ]
        if self.settings.sync if sync is None else sync:
            if group is not None:
                self._open_group(group)
            if rows := self._rows_of(packages, details):
                self.results.tracked.add(rows)
            self._run_here(packages)
            return
        sender = self._sender if broker is None else self._sender_to(broker)
        messages = sender.pack(packages)  # now: later changes to the arguments are not meant, and errors belong here
        alias = self._awaited(sender.broker, on_commit)
        rows = self._rows_of(packages, details)
        if alias is None:
            around = current_batch(sender.broker)
            if around is None and group is None and not rows:
                sender.put(messages)
                return
            pending = self._pending(sender, packages, messages, rows, group, self._shared_database(sender.broker))
            around.add(pending) if around is not None else deliver(pending)
            return
        pending = self._pending(sender, packages, messages, rows)
        if group is not None:
            self._open_group(group)
        if pending.tracked is not None:
            pending.tracked.store.add(rows)
        send_on_commit(pending, alias)

    def _pending(
        self,
        sender: QueueSender,
        packages: Sequence[TaskPackage],
        messages: Sequence[Message],
        rows: Sequence[TrackedTask],
        group: GroupPlan | None = None,
        database: str | None = None,
    ) -> PendingSend:
        """``database``: the one that has the queue, the rows and the groups, if it is one and they are written
        together."""
        if rows and database is None:  # the rows keep the messages until the queue has them
            payloads = {each.id: message.payload for each, message in zip(packages, messages, strict=True)}
            for row in rows:
                row.payload = payloads[row.id]
        return PendingSend(
            sender,
            messages,
            TrackedRows(self.results.tracked, rows) if rows else None,
            () if group is None else (partial(self._open_group, group),),
            database if rows or group is not None else None,
        )

    def _shared_database(self, broker: Broker) -> str | None:
        return broker.database if broker.database == self.results.database else None

    def _rows_of(self, packages: Sequence[TaskPackage], details: Mapping[str, SendingDetails]) -> list[TrackedTask]:
        """The rows of those packages that are tracked."""
        return [
            new_row(
                package.header,
                details.get(package.id) or details_of(package),
                package.header.options.queue or self.settings.queue,
            )
            for package in packages
            if package.header.options.tracked
        ]

    def chained(self, packages: Sequence[TaskPackage]) -> TaskPackage:
        """Return the first of several packages, with the signed others as its continuation."""
        first, *others = packages
        return first.with_options(
            chain=tuple(message.payload for message in pack(self.codec.for_queue(CONTINUATION), others))
        )

    def _open_group(self, plan: GroupPlan) -> None:
        follows = [
            pack(self.codec.for_queue(CONTINUATION), [each])[0].payload if each else ""
            for each in (plan.on_success, plan.on_failure)
        ]
        self.results.groups.create(plan.id, plan.total, *follows)

    def broker_named(self, alias: str | None) -> Broker:
        """Return the broker of this name in ``brokers``, with this queue; None = its own. Raises ``NotSupported``."""
        return self._sender_to(alias).broker if alias else self.broker

    def _sender_to(self, broker: Broker | str) -> QueueSender:
        """Return the sender to a broker, or to the broker of this name in ``brokers``."""
        if isinstance(broker, Broker):
            return QueueSender(self.codec, broker)
        if hasattr(broker, "adapter_class"):  # written for the interface of Django-Q
            foreign: Any = broker
            section = replace(self.settings.broker, queue=foreign.list_key)
            return QueueSender(self.codec, foreign.adapter_class()(section, foreign))
        if broker not in self._named:
            section = broker_section(self.settings.brokers, broker, self.settings.queue)
            self._named[broker] = QueueSender(self.codec, opened(section))
        return self._named[broker]

    def _awaited(self, broker: Broker, on_commit: bool | str | None) -> str | None:
        """The database for whose commit the sending has to wait, if any."""
        choice = self.settings.on_commit if on_commit is None else on_commit
        if not isinstance(choice, bool | str):
            raise TypeError(f"on_commit is True, False, or the alias of a database, not {choice!r}.")
        if choice is False:
            return None
        alias = self.results.database if choice is True else choice
        if alias is None or alias == broker.database or not connections[alias].in_atomic_block:
            return None
        return alias

    def _run_here(self, packages: Sequence[TaskPackage]) -> None:
        """Run in this process the steps of a cluster: sign, open, execute and record each package."""
        packages = announced(packages, self.codec.signing.middleware)
        check_functions(self.settings.signing.functions, packages)
        waiting = deque(self.codec.verify(self.codec.dumps(package)) for package in packages)

        def follow(addressed: Sequence[AddressedMessage]) -> None:
            waiting.extend(
                self.codec.for_queue(each.queue or self.codec.queue).verify(each.message.payload) for each in addressed
            )

        first_error: BaseException | None = None
        while waiting:
            outcome, error = self.execute(
                Job(number=0, body=waiting.popleft(), receipt="", attempt=1, queue=self.settings.queue)
            )
            self._record(outcome, None, follow)
            # The framework's callers look at the result.
            first_error = first_error or (error if "backend" not in outcome.options else None)
            if "member" not in outcome.options:
                raise_as_in_task(first_error)
        raise_as_in_task(first_error)

    def execute(self, job: Job) -> tuple[Outcome, BaseException | None]:
        """Run the task in this process; returns its outcome, and the exception that it raised."""
        return self._executor.run_with_error(job)

    def record(self, outcome: Outcome, broker: Broker) -> None:
        """Save the outcome, send what follows it, acknowledge the message, call the hook and the receivers."""
        self._record(
            outcome,
            broker,
            TaskRouter(self.codec, broker, self.settings.brokers, queue_brokers=self.settings.queue_brokers).forward,
        )

    def record_cancelled(self, outcomes: Sequence[Outcome]) -> None:
        """Save the outcomes of cancelled tasks, send what follows them, and call their hooks and the receivers here."""
        if not outcomes:
            return
        router = TaskRouter(self.codec, self.broker, self.settings.brokers, queue_brokers=self.settings.queue_brokers)
        saved = self._recorder(None, router.forward).record(outcomes)
        InitialContext().run(notify, saved, self._hook, None, self.results.get)

    def _record(self, outcome: Outcome, broker: Broker | None, forward: Forward) -> None:
        """``broker``: None if the job came from no queue."""
        saved = self._recorder(broker, forward).record([outcome])
        InitialContext().run(notify, saved, self._hook, None, self.results.get)

    def _recorder(self, broker: Broker | None, forward: Forward) -> Recorder:
        one_server = not (self.settings.brokers or self.settings.queue_brokers)
        continuations = Continuations(
            self.results.groups, self.codec, forward, claimed_by=self._name, one_server=one_server
        )
        return Recorder(self.results, broker, self.settings.delivery, continuations)

    @cached_property
    def _executor(self) -> Executor:
        settings, signing = self.settings, self.settings.signing
        worker = f"sync ({os.getpid()})"
        return Executor(
            self.codec,
            ValueSigner(signing.secret, signing.fallbacks, signing.serializer, settings.results.max_result_size),
            ErrorReporters(settings.reporters, queue=settings.queue, worker=worker),
            timeout=settings.processes.timeout,
            worker=worker,
            tracker=RunTracker(
                self.results.tracked,
                settings.delivery,
                worker=worker_id(settings.name, os.uname().nodename, os.getpid(), 0),
            ),
            environment=RunEnvironment(checkpoints=self.results.checkpoints, signer=checkpoint_signer(signing)),
        )

    def _hook(self, outcome: Outcome) -> None:
        run_hook(outcome, self.results.get, self.settings.signing.functions)


def opened(section: BrokerSettings) -> Broker:
    """Open the broker. In a test process, its queue is first emptied of the messages of an earlier run."""
    broker = open_broker(section)
    place = section.kind, section.name, section.queue, section.alias
    if is_owner() and section.name.endswith(suffix()) and place not in _emptied:
        _emptied.add(place)
        with suppress(BrokerError):  # the first use of the broker raises it again
            broker.purge()
    return broker


_emptied: set[tuple[str, ...]] = set()
"""Queues for tests that this process has emptied."""


def raise_as_in_task(error: BaseException | None) -> None:
    """Raise the error of a task, if there is one."""
    if isinstance(error, TaskTimeout | TaskCancelled):
        raise TaskFailed(str(error)) from error  # a BaseException must not end the caller's process
    if error is not None:
        raise error


_clients = threading.local()


def get_client(queue: str | None = None) -> Client:
    """Return this thread's client of a queue (None: the one of the settings).

    It is built anew after a fork, because the child must not use its parent's connection, and when settings change.
    """
    settings = load_settings(queue)
    known: dict[str | None, tuple[int, Client]] = _clients.__dict__.setdefault("known", {})
    pid, client = known.get(queue, (0, None))
    if client is None or pid != os.getpid() or client.settings is not settings:
        client = Client(settings)
        known[queue] = (os.getpid(), client)
    return client
