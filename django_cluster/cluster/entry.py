"""Where a new process of the crew comes in: a module that can be imported before Django is set up.

A process that is spawned starts with nothing but the path of its first function, and models can only be
imported when all apps are known.
"""

from __future__ import annotations

import gc
from multiprocessing.connection import Connection

import django
from django.apps import apps

from django_cluster.cluster.logs import show_logs
from django_cluster.cluster.seat import Seat
from django_cluster.core.settings import Settings


def enter(seat: Seat, settings: Settings, pipe: Connection, foreign: tuple[int, ...]) -> None:
    """The target of every process of the crew."""
    if not apps.ready:
        django.setup()
    from django_cluster.cluster.child import run_child

    if settings.crew.start_method != "fork":
        show_logs(settings)  # a fork brings the handlers along
    run_child(seat, settings, pipe, foreign)


def preload(settings: Settings) -> None:
    """Import and do what children will in the process that is going to fork them: that memory stays shared."""
    if not apps.ready:
        django.setup()
    from django_cluster.cluster import child  # noqa: F401  all that a child is
    from django_cluster.cluster.rehearsal import rehearse

    rehearse(settings)
    gc.collect()
    gc.freeze()  # and no collector writes to it
