"""The watcher: a process that looks, again and again, how many tasks have their row and what still waits."""

from __future__ import annotations

import os
import signal
import time

from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models import Q

from django_cluster.client.client import Client
from django_cluster.core.messages import OutcomeStatus
from django_cluster.errors import ClusterError
from django_cluster.models.task import saved_tasks
from django_cluster.testing.chaos.journal import append_line
from django_cluster.testing.chaos.sandbox import Sandbox

POLL_SECONDS = 0.05
"""Seconds between two looks."""
REPEAT = 0.5
"""Seconds after which a look is noted even if nothing has changed."""


def observe_progress(sandbox: Sandbox) -> None:
    """The target of a process: ends with its parent, or when it is terminated."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    client, parent = Client(sandbox.settings), os.getppid()
    last, noted_at = (-1, -1), 0.0
    while os.getppid() == parent:
        try:
            # First the queue, then the rows: nothing can slip from one to the other unseen.
            waiting = client.broker.size().total
            rows = saved_tasks(client.results.database).in_group(sandbox.group, failures=True)
            done = rows.filter(Q(success=True) | Q(status=OutcomeStatus.CANCELLED)).count()
        except (ClusterError, DatabaseError, InterfaceError):
            close_old_connections()  # the server is away, which is the point; look again
        else:
            now = time.monotonic()
            if (done, waiting) != last or now - noted_at >= REPEAT:
                append_line(sandbox.progress, now, done, waiting)
                last, noted_at = (done, waiting), now
        time.sleep(POLL_SECONDS)
