"""Connections and forks: what is open must not be used on both sides.

Two sides speaking on one socket garble each other, and a goodbye said in a child ends the session of its parent. So
whoever is about to fork closes what he can (``close_before_fork``), and whoever was forked lays aside, untouched, what
still came with him (``discard_inherited_connections``): a program that has a cluster inside may be in the middle of a transaction.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from django.core.cache import caches
from django.db import connections

from django_cluster.core.events.processes import DATABASE_POOL_CLOSED

_discarded: list[object] = []
"""Kept for ever. Their destructors would speak to the server (MariaDB), close a file under its owner's hands (SQLite),
or wait for threads that exist in the parent only (a pool)."""


def close_before_fork(*, pools: bool = False) -> None:
    """Close the connections of this thread that are in no transaction; with ``pools``, what waits in pools too.

    For SQLite this is more than tidiness: what its library knows of a file's locks would be copied, and be wrong.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
    caches.close_all()
    if pools:
        for alias, pool in _pools().items():
            pool.close()
            DATABASE_POOL_CLOSED.log(database=alias)
        _pools().clear()


def discard_inherited_connections() -> None:
    """In a new process: begin without connections, and leave those of the parent alone."""
    inherited = connections.all(initialized_only=True)
    for connection in inherited:
        _detach_socket(connection.connection)
        del connections[connection.alias]
    for pool in _pools().values():
        for raw in getattr(pool, "_pool", ()):
            _detach_socket(raw)
    _discarded.extend([inherited, dict(_pools()), caches.all(initialized_only=True)])
    _pools().clear()
    for alias in caches:
        with suppress(AttributeError):  # it was not made yet
            del caches[alias]


def _pools() -> dict[str, Any]:
    """Those of PostgreSQL, of all threads: Django keeps them beside its connections."""
    backend = sys.modules.get("django.db.backends.postgresql.base")
    pools: dict[str, Any] = getattr(getattr(backend, "DatabaseWrapper", None), "_connection_pools", {})
    return pools


def _detach_socket(raw: Any) -> None:
    """End our copy of the socket: the server must notice when its owner dies, although we live."""
    with suppress(Exception):  # SQLite has no socket; others raise what they like when they are closed
        descriptor = raw.fileno()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
