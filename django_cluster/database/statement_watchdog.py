"""An end to our own waits for a database that has fallen silent, in processes that are not ours: senders, readers.

A network can forget a connection without a word, and a proxy can take what is said and never answer. A web process that
sends a task would then wait in the driver forever. What it does on the project's connection is not ours to limit; what
*we* do there is: around our own statements, and nowhere else, one thread of the process watches how long they take, and
shuts the socket down of one that takes too long. The waiting code then sees a broken connection, as after a restart of
the server.

The thread is started with the first such statement, ends when there has been none for a while, and is never there
during a fork. Under gevent it is a greenlet: it can watch drivers that let others run while they wait.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_cluster.core.events.servers import DATABASE_SILENT

WRITE_TIMEOUT = 15.0
"""Seconds that one of our statements that writes may take in a process that is not the cluster's."""
READ_TIMEOUT = 30.0
"""Seconds for one that reads."""
TICK_SECONDS = 1.0
"""Seconds between two looks."""
IDLE_TICKS = 60
"""Looks without anything to watch after which the thread ends."""


class Statement(NamedTuple):
    """One of ours that may be waiting."""

    connection: BaseDatabaseWrapper
    seconds: float
    until: float
    """Monotonic."""
    raw: Any
    """The connection of the driver."""
    descriptor: int
    """Its socket, looked up in its own thread: not all drivers answer another one."""


class StatementWatchdog:
    """Watches our statements on all connections of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may send, too
        self._statements: dict[int, Statement] = {}
        """By the identity of the connection: it is used by one thread at a time."""
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, connection: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
        """No statement in the block waits longer for its answer than this."""
        outer = self._statements.get(id(connection))

        def step(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            self._begin(connection, seconds)
            return execute(sql, params, many, context)

        if outer is not None:
            self._begin(connection, seconds)
            try:
                yield
            finally:
                self._begin(connection, outer.seconds)
            return
        try:
            self._begin(connection, seconds)
            with connection.execute_wrapper(step):
                yield
        finally:
            with self._lock:
                self._statements.pop(id(connection), None)

    def _begin(self, connection: BaseDatabaseWrapper, seconds: float) -> None:
        raw = connection.connection
        until = time.monotonic() + seconds
        statement = Statement(connection, seconds, until, raw, -1 if raw is None else descriptor_of(raw))
        with self._lock:
            self._statements[id(connection)] = statement
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=[self._stop], name="statement-watchdog", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends: as without a limit
            self._thread = None

    def _watch(self, stop: threading.Event) -> None:
        idle, before = 0, time.monotonic()
        while not stop.wait(TICK_SECONDS):
            now = time.monotonic()
            with self._lock:
                if now - before > 3 * TICK_SECONDS:
                    self._extend(now - before)  # this process was stopped itself: an answer may have come
                late = [each for each in self._statements.values() if now >= each.until]
                idle = 0 if self._statements else idle + 1
                if idle >= IDLE_TICKS and self._thread is threading.current_thread():
                    self._thread = None
                    return
            for each in late:
                self._end(each)
            before = now

    def _extend(self, seconds: float) -> None:
        for key, each in self._statements.items():
            self._statements[key] = each._replace(until=each.until + seconds)

    def _end(self, late: Statement) -> None:
        connection = late.connection
        with self._lock:  # so that the statement cannot end, and its socket be another's, while it is shut down
            if self._statements.get(id(connection)) is not late or late.descriptor < 0:
                return
            if connection.connection is not late.raw:
                return
            del self._statements[id(connection)]
            shut_down(late.descriptor)
        DATABASE_SILENT.log(database=connection.alias, seconds=late.seconds)

    def pause(self) -> None:
        """End the thread, before a fork: what is copied is a process with one thread."""
        with self._lock:
            thread, stop = self._thread, self._stop
            self._thread = None
        if thread is not None and stop is not None and thread is not threading.current_thread():
            stop.set()
            thread.join(TICK_SECONDS)

    def resume(self) -> None:
        """After a fork, in the parent: watch what other threads are waiting for."""
        with self._lock:
            if self._statements and self._thread is None:
                self._start()


def descriptor_of(raw: Any) -> int:
    """The socket of a driver's connection; -1 if it has none that is open."""
    try:
        return int(raw.fileno())
    except Exception:  # noqa: BLE001  each driver has errors of its own for a connection that is closed
        return -1


def shut_down(descriptor: int) -> None:
    """Shut a socket down, so that a thread that waits for it gets an error; the descriptor itself stays open."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


_watchdog = StatementWatchdog()


def statement_timeout(connection: BaseDatabaseWrapper, seconds: float) -> AbstractContextManager[None]:
    """A context in which no statement on this connection waits for longer."""
    return _watchdog.within(connection, seconds)


def _renew_after_fork() -> None:
    """The thread is the parent's, and the lock may be held by one that is not here."""
    global _watchdog
    _watchdog = StatementWatchdog()


os.register_at_fork(
    before=lambda: _watchdog.pause(),
    after_in_parent=lambda: _watchdog.resume(),
    after_in_child=_renew_after_fork,
)
