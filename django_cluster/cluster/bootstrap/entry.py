"""Where a new process of the crew comes in: a module that can be imported before Django is set up.

A process that is spawned starts with nothing but the path of its first function, and models can only be
imported when all apps are known.
"""

from __future__ import annotations

import gc
from multiprocessing.connection import Connection

import django
from django.apps import apps

from django_cluster.cluster.bootstrap.logs import configure_logs
from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.core.settings import Settings


def run_process(incarnation: Incarnation, settings: Settings, pipe: Connection, inherited: tuple[int, ...]) -> None:
    """The target of every process of the crew."""
    if not apps.ready:
        django.setup()
    from django_cluster.cluster.bootstrap.child import run_child

    if settings.processes.start_method != "fork":
        configure_logs(settings)  # a fork brings the handlers along
    run_child(incarnation, settings, pipe, inherited)


def warm_up_before_fork(settings: Settings) -> None:
    """Import and do what children will in the process that is going to fork them: that memory stays shared."""
    if not apps.ready:
        django.setup()
    from django_cluster.cluster.bootstrap import child  # noqa: F401  all that a child is
    from django_cluster.cluster.bootstrap.warmup import warm_up

    warm_up(settings)
    gc.collect()
    gc.freeze()  # and no collector writes to it
