"""Restores the state of a process after each task or hook: signals, working directory, umask, connections."""

from __future__ import annotations

import _signal as plain_signal  # what ``signal`` wraps: it says numbers, and makes no enum of each of them
import math
import os
import signal
from contextlib import suppress
from types import FrameType

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cluster.cluster.ipc.control_pipe import SENTINEL_SIGNALS
from django_cluster.database.dialect import is_sqlite

RESTORED_SIGNALS = (*SENTINEL_SIGNALS, signal.SIGALRM, signal.SIGCHLD, signal.SIGPIPE)
"""Signals whose handlers are restored after each task."""


def ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. A handler, unlike SIG_IGN, is not inherited by the programs that a task starts."""


class TaskCleanup:
    """Remembers the state of the process before its first task, and restores it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._folder = _working_directory()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._close_at = math.inf
        self._handlers = [
            (int(each), plain_signal.getsignal(each) or plain_signal.SIG_DFL) for each in RESTORED_SIGNALS
        ]
        self._mask = plain_signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def __call__(self) -> None:
        """Restore the state. Fast when there is nothing to restore, because it is called after every task."""
        if os.getpid() != self._pid:
            os._exit(0)  # a child that the task has forked, and that did not exit
        self._restore_signals()
        if self._folder is not None and _working_directory() != self._folder:
            with suppress(OSError):
                os.chdir(self._folder)
        os.umask(self._umask)
        self._close_at = clean_up_connections()

    def prepare(self, now: float) -> None:
        """Before a task, as before a request: close the connections that have become too old (``CONN_MAX_AGE``).

        ``now`` is monotonic. Nothing is checked before the first of them is due.
        """
        if now >= self._close_at:
            self._close_at = clean_up_connections()

    def _restore_signals(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        handler_of = plain_signal.getsignal
        for number, handler in self._handlers:
            if handler_of(number) != handler:
                signal.signal(number, handler)
        if plain_signal.pthread_sigmask(signal.SIG_BLOCK, ()) != self._mask:
            # An alarm that is pending behind the mask would end the process; ignoring the signal discards it.
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            signal.signal(signal.SIGALRM, dict(self._handlers)[signal.SIGALRM])


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def clean_up_connections() -> float:
    """Close connections that are in a transaction, broken or outdated.

    Returns the monotonic time at which the first of those that stay open has to be closed; infinity = never.
    """
    first = math.inf
    for connection in connections.all(initialized_only=True):
        _end_transaction(connection)
        if connection.errors_occurred and not is_sqlite(connection):
            # It answers, so Django would keep it; but it may lead to a server that has become read-only.
            connection.close()
        connection.close_if_unusable_or_obsolete()  # as Django does after a request
        if connection.queries_logged:
            connection.queries_log.clear()
        if leave_tenant := getattr(connection, "set_schema_to_public", None):
            with suppress(Exception):  # the wrapper of django-tenants remembers the tenant
                leave_tenant()
        if connection.connection is not None and connection.close_at is not None:
            first = min(first, connection.close_at)
    return first


def end_transactions() -> None:
    """Close the connections that a task has left in a transaction, so that what is written next is kept."""
    for connection in connections.all(initialized_only=True):
        _end_transaction(connection)


def _end_transaction(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is None:
        return
    if connection.in_atomic_block or connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
        connection.in_atomic_block = False  # otherwise close() would leave the block half open
        connection.close()
