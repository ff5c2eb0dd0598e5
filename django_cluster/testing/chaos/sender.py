"""The sender: a process that enqueues tasks at a constant rate, like a web process."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

from django.db import connections

from django_cluster.client.client import Client
from django_cluster.core.messages import TaskPackage
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import build_packages
from django_cluster.errors import BrokerError
from django_cluster.testing.chaos.journal import ACCEPTED, CALLED, REFUSED, append_line
from django_cluster.testing.chaos.sandbox import Sandbox
from django_cluster.testing.chaos.workload import durations, work


def send(sandbox: Sandbox, *, seed: int, rate: float, seconds: float) -> None:
    """Target of the process: enqueue ``rate`` tasks per second for ``seconds``; ends with its parent.

    A call that raises ``BrokerError`` may have reached the server: such a task may run or not, with at most one row.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    client = Client(sandbox.settings)
    parent, start = os.getppid(), time.monotonic()
    lengths = durations(seed, rate, sandbox.settings.broker.lease)
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        if time.monotonic() - start > seconds or os.getppid() != parent:
            break
        package = build(sandbox, next(lengths))
        began = time.monotonic()
        append_line(sandbox.calls, CALLED, package.id, began)
        try:
            client.submit([package])
        except BrokerError as error:
            append_line(sandbox.calls, REFUSED, package.id, began, time.monotonic(), *str(error).split())
        else:
            append_line(sandbox.calls, ACCEPTED, package.id, began, time.monotonic())
    connections.close_all()


def build(sandbox: Sandbox, seconds: float) -> TaskPackage:
    """A task that gets its own id as an argument."""
    # The time limit of the cluster is for tasks of the project.
    options = build_options({"group": sandbox.group, "save": True, "timeout": -1})
    (package,) = build_packages(work, [()], {}, options)
    return replace(package, args=(str(sandbox.executions), package.id, seconds))
