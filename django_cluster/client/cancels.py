"""Cancel tasks: take out of their queues what waits there, and tell the clusters of the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from django.db import router

from django_cluster.brokers import needs_delay_queue
from django_cluster.brokers.base import Broker
from django_cluster.brokers.publisher import delay_queue
from django_cluster.client.client import Client, get_client
from django_cluster.conf import load_settings
from django_cluster.core.cancel_requests import CancelRequest, CancelResult, keys_of
from django_cluster.core.codec import header_of
from django_cluster.core.messages import Job, TaskHeader
from django_cluster.core.queue_names import DELAY_QUEUE_PREFIX, parse_queue_name
from django_cluster.core.task_status import ENDED
from django_cluster.errors import PackageError
from django_cluster.lifecycle.cancellation import Cancellation, outcome_of_cancelled, sealed_arguments
from django_cluster.models import Schedule
from django_cluster.stores.cancel_requests import CancelRequestStore


def request_cancel(targets: Sequence[str], queue: str | None, broker: str | None, by: str) -> CancelResult:
    """Cancel what these names mean; see ``control.cancel``. ``targets``: that of the task or composition first."""
    client = get_client(queue)
    if has_ended(client, targets):
        return CancelResult.TOO_LATE
    requests = [CancelRequest(each, time.time(), by) for each in targets]
    main = client.broker_named(broker)
    found = cancellation_in(main, client=client).cancel_covered(requests)
    if needs_delay_queue(main.settings):
        found += cancellation_in(delay_queue(main.settings), client=client).cancel_covered(requests)
    found += _cancel_unsent(client, requests)
    if found and has_ended(client, targets):
        return CancelResult.CANCELLED
    CancelRequestStore(load_settings().results.database).add(targets, by)
    return CancelResult.REQUESTED


def cancellation_in(broker: Broker, queue: str | None = None, *, client: Client | None = None) -> Cancellation:
    """What cancels messages in the queue of this broker. ``queue``: whose tasks they are, if it is a delay queue."""
    database = load_settings().results.database or router.db_for_write(Schedule)
    if client is None:
        client = get_client(
            queue or (parse_queue_name(broker.queue) if broker.queue.startswith(DELAY_QUEUE_PREFIX) else broker.queue)
        )
    return Cancellation(broker, client.codec, database, client.record_cancelled)


def has_ended(client: Client, targets: Sequence[str]) -> bool:
    """Whether the task or group of the first name is known to have ended."""
    name = targets[0]
    if client.results.groups.has_ended(name):
        return True
    row = client.results.get(name)
    if row is not None and row.id == name and row.final and row.attempt_count:
        return len(targets) == 1
    tracked = client.results.tracked.get(name) if len(targets) == 1 else None
    return tracked is not None and tracked.status in ENDED


def _cancel_unsent(client: Client, requests: Sequence[CancelRequest]) -> int:
    """Cancel tracked tasks whose messages have not reached their broker, and never will; returns how many.

    Should the broker have one after all, the row refuses its run.
    """
    outcomes = []
    for row in client.results.tracked.unsent_of([request.target for request in requests]):
        codec = client.codec.for_queue(row.queue or client.codec.queue)
        try:
            header = header_of(codec.verify(row.payload or ""))
        except PackageError:
            continue
        request = next(_covering(requests, header), None)
        if request is not None and client.results.tracked.cancel_row(row):
            job = Job(0, b"", "", 1, codec.queue)
            arguments = sealed_arguments(row.payload or "", header, codec)
            outcomes.append(outcome_of_cancelled(job, header, request, arguments=arguments))
    client.record_cancelled(outcomes)
    return len(outcomes)


def _covering(requests: Sequence[CancelRequest], header: TaskHeader) -> Iterator[CancelRequest]:
    keys = keys_of(header)
    return (request for request in requests if request.covers(keys))
