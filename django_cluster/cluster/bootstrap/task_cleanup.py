"""What is put right after the user's code, so that nobody finds what a task or a hook left behind."""

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

RESTORED_SIGNALS = (*SENTINEL_SIGNALS, signal.SIGALRM, signal.SIGCHLD, signal.SIGPIPE)
"""Signals whose handlers a task may change for itself, and for nobody after it."""


def ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. A handler, unlike SIG_IGN, is not inherited by the programs that a task starts."""


class TaskCleanup:
    """Remembers how the worker was before its first task."""

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
        """Cheap when there is nothing to put right, because it follows every task."""
        if os.getpid() != self._pid:
            os._exit(0)  # a child that the task forked and forgot has come here in our place
        self._restore_signals()
        if self._folder is not None and _working_directory() != self._folder:
            with suppress(OSError):
                os.chdir(self._folder)
        os.umask(self._umask)
        self._close_at = clean_up_connections()

    def prepare(self, now: float) -> None:
        """Before a task, as before a request: close the connections that have become too old (``CONN_MAX_AGE``).

        ``now`` is monotonic. Nothing is looked at before the first of them is.
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
            # An alarm that waits behind the mask would end us; to ignore it for a moment forgets it.
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            signal.signal(signal.SIGALRM, dict(self._handlers)[signal.SIGALRM])


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def clean_up_connections() -> float:
    """No open transaction and no broken or outdated connection is left to the next task.

    Returns the monotonic time at which the first of those that stay open has to be closed; infinity = never.
    """
    first = math.inf
    for connection in connections.all(initialized_only=True):
        _end_transaction(connection)
        connection.close_if_unusable_or_obsolete()  # a task is to CONN_MAX_AGE what a request is
        if connection.queries_logged:
            connection.queries_log.clear()
        if leave_tenant := getattr(connection, "set_schema_to_public", None):
            with suppress(Exception):  # the wrapper of django-tenants remembers the tenant; the next task is its own
                leave_tenant()
        if connection.connection is not None and connection.close_at is not None:
            first = min(first, connection.close_at)
    return first


def _end_transaction(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is None:
        return
    if connection.in_atomic_block or connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
        connection.in_atomic_block = False  # else close() would leave the block half open
        connection.close()
