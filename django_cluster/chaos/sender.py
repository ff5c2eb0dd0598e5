"""The sender: a process that enqueues a steady load, as a busy web process does."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

from django.db import connections

from django_cluster.chaos.journal import ACCEPTED, CALLED, REFUSED, note
from django_cluster.chaos.stage import Stage
from django_cluster.chaos.workload import durations, work
from django_cluster.client import Client
from django_cluster.core.call import build_options, build_packages
from django_cluster.core.messages import TaskPackage
from django_cluster.errors import BrokerError


def send(stage: Stage, *, seed: int, rate: float, seconds: float) -> None:
    """The target of a process: ``rate`` tasks a second for so many seconds, and it ends with its parent.

    A call that raises ``BrokerError`` may have reached the server all the same: nothing is promised of such
    a task, but that it leaves no more than one row.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    client = Client(stage.settings)
    parent, start = os.getppid(), time.monotonic()
    lengths = durations(seed, rate, stage.settings.broker.lease)
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        if time.monotonic() - start > seconds or os.getppid() != parent:
            break
        package = build(stage, next(lengths))
        began = time.monotonic()
        note(stage.sent, CALLED, package.id, began)
        try:
            client.submit([package])
        except BrokerError as error:
            note(stage.sent, REFUSED, package.id, began, time.monotonic(), *str(error).split())
        else:
            note(stage.sent, ACCEPTED, package.id, began, time.monotonic())
    connections.close_all()


def build(stage: Stage, seconds: float) -> TaskPackage:
    """A task that knows its own id."""
    # The cluster's time limit is meant for the user's tasks; ours know how long they take.
    options = build_options({"group": stage.group, "save": True, "timeout": -1})
    (package,) = build_packages(work, [()], {}, options)
    return replace(package, args=(str(stage.runs), package.id, seconds))
