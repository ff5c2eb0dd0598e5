"""Cancels a task of a run: a process of its own, because the process that controls the run opens no connection."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

from django.db import DatabaseError, InterfaceError, router

from django_cluster.client.client import Client
from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.errors import ClusterError
from django_cluster.lifecycle.cancellation import Cancellation
from django_cluster.models import Schedule
from django_cluster.stores.cancel_requests import CancelRequestStore
from django_cluster.testing.chaos.journal import ACCEPTED, append_line, read_all
from django_cluster.testing.chaos.sandbox import Sandbox

NEWEST = 20
"""How many of the last tasks one is chosen from: they wait, are leased, run, or have just ended."""


def cancel_one(sandbox: Sandbox, *, pick: float) -> None:
    """The target of a process. ``pick``: selects one of the newest tasks; 0 <= pick < 1."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    newest = [task for word, task, *_ in read_all(sandbox.calls) if word == ACCEPTED][-NEWEST:]
    if not newest:
        return
    task = newest[int(pick * len(newest))]
    append_line(sandbox.cancels, task, time.monotonic())  # first: the task may end before the call returns
    client = Client(sandbox.settings)
    database = client.results.database or router.db_for_write(Schedule)
    with suppress(ClusterError, DatabaseError, InterfaceError):  # a server is away: the task is not cancelled, then
        waiting = Cancellation(client.broker, client.codec, database, client.record_cancelled)
        if not waiting.cancel_covered([CancelRequest(task, time.time(), "qchaos")]):
            CancelRequestStore(database).add([task], "qchaos")
    client.broker.close()
