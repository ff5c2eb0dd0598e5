"""Connections and forks: a connection that is open must not be used in both processes.

Two processes that send on one socket corrupt the stream, and a child that closes a session ends that of its parent. So
a process closes what it can before it forks (``close_before_fork``), and a forked process discards, without using it,
what it has inherited (``discard_inherited_connections``): a program with an embedded cluster may be in a transaction.
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
"""Kept forever. Their destructors would send to the server (MariaDB), close a file that the parent uses (SQLite), or
wait for threads that exist in the parent only (a pool)."""


def close_before_fork(*, pools: bool = False) -> None:
    """Close the connections of this thread that are in no transaction; with ``pools``, also those in pools.

    SQLite needs it: a copy of what its library knows about the locks of a file would be wrong.
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
    """Start a new process without connections, and leave those of the parent as they are."""
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
    """The pools of PostgreSQL, of all threads: Django keeps them beside its connections."""
    backend = sys.modules.get("django.db.backends.postgresql.base")
    pools: dict[str, Any] = getattr(getattr(backend, "DatabaseWrapper", None), "_connection_pools", {})
    return pools


def _detach_socket(raw: Any) -> None:
    """Close this process's copy of the socket: the server must notice when the owner dies."""
    with suppress(Exception):  # SQLite has no socket; others raise what they like when they are closed
        descriptor = raw.fileno()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)
