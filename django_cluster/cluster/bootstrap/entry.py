"""The entry point of every process of a cluster: a module that can be imported before Django is set up.

A spawned process starts with nothing but the path of its first function, and models can only be imported when all apps
are loaded.
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
    """Run a process of the cluster: the target of ``multiprocessing.Process``."""
    if not apps.ready:
        django.setup()
    from django_cluster.cluster.bootstrap.child import run_child

    if settings.processes.start_method != "fork":
        configure_logs(settings)  # a forked process inherits the handlers
    run_child(incarnation, settings, pipe, inherited)


def warm_up_before_fork(settings: Settings) -> None:
    """Import and do, before the fork, what every process needs: its memory stays shared."""
    if not apps.ready:
        django.setup()
    from django_cluster.cluster.bootstrap import child  # noqa: F401  all that a child is
    from django_cluster.cluster.bootstrap.warmup import warm_up

    warm_up(settings)
    gc.collect()
    gc.freeze()  # the garbage collector would write to it
