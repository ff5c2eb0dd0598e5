"""Where a new process of the crew comes in: a module that can be imported before Django is set up.

A process that is spawned starts with nothing but the path of its first function, and models can only be
imported when all apps are known.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection

import django
from django.apps import apps

from django_cluster.cluster.seat import Seat
from django_cluster.core.settings import Settings


def enter(seat: Seat, settings: Settings, pipe: Connection, foreign: tuple[int, ...]) -> None:
    """The target of every process of the crew."""
    child_life()(seat, settings, pipe, foreign)


def child_life() -> Callable[[Seat, Settings, Connection, tuple[int, ...]], None]:
    """All that a child is; whoever is going to fork imports it once, for all."""
    if not apps.ready:
        django.setup()
    from django_cluster.cluster.child import run_child

    return run_child
