"""How an idle ORM broker waits: woken by PostgreSQL, by watching SQLite's change counter, or by polling.

Before the broker reads the state of the queue it arms its poller. A commit after that ends the wait, so no message can
come unnoticed between the reading and the wait.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any

from django.db import Error, connections
from django.db.backends.utils import CursorWrapper

from django_cluster.brokers.orm_rows import channel_of
from django_cluster.database.dialect import by_vendor
from django_cluster.database.session import Session

MIN_GLANCE_SECONDS, GLANCE_GROWTH, MAX_GLANCE_SECONDS = 0.005, 1.1, 0.025
"""Seconds between two readings of the change counter: at first, growth while nothing comes, and at most. Waking up
costs the process more than the reading, which takes no lock."""


class Poller:
    """Sleeps, and nothing wakes it: for MariaDB, and for every database inside a transaction of the caller."""

    blocking = False
    """Whether it can be woken at all."""
    told = False
    """Whether only a message of its own queue wakes it."""

    def __init__(self, session: Session, queue: str) -> None:
        self._session = session

    @property
    def armed(self) -> bool:
        """Whether a change that has come since the last ``arm`` is sure to end the sleep."""
        return False

    def arm(self) -> None:
        """Called before the state of the queue is read."""

    def sleep(self, seconds: float) -> bool:
        """Sleep for at most ``seconds``; returns whether a message may have come since ``arm``."""
        return bool(self.sleep_any([self], seconds))

    def sleep_any(self, pollers: Sequence[Poller], seconds: float) -> Sequence[Poller]:
        """Sleep for several pollers of one connection, this one included; returns those that may have a message."""
        time.sleep(seconds)
        return []

    def found(self, *, unprompted: bool) -> None:
        """A message was leased. ``unprompted``: it should have ended a sleep and did not."""


class FileWatcher(Poller):
    """Reads SQLite's change counter until it changes."""

    blocking = True

    def __init__(self, session: Session, queue: str) -> None:
        super().__init__(session, queue)
        self._raw: Any = None
        self._seen: object = None
        self._pause = MIN_GLANCE_SECONDS

    @property
    def armed(self) -> bool:
        # Inside a transaction the number stands still.
        return self._raw is not None and not connections[self._session.alias].in_atomic_block

    def arm(self) -> None:
        self._session.execute(self._remember)

    def _remember(self, cursor: CursorWrapper) -> None:
        self._raw = cursor.connection
        self._seen = change_counter(self._raw)

    def sleep_any(self, pollers: Sequence[Poller], seconds: float) -> Sequence[Poller]:
        if not all(each.armed for each in pollers):
            return super().sleep_any(pollers, seconds)
        connection = connections[self._session.alias]
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                time.sleep(min(self._pause, left))
                self._pause = min(self._pause * GLANCE_GROWTH, MAX_GLANCE_SECONDS)
                if connection.connection is not self._raw:
                    return pollers
                seen = change_counter(self._raw)
                if woken := [each for each in pollers if isinstance(each, FileWatcher) and each._seen != seen]:
                    return woken
        except self._raw.Error:
            return pollers  # the look that follows knows how to deal with it
        return []

    def found(self, *, unprompted: bool) -> None:
        self._pause = MIN_GLANCE_SECONDS


def change_counter(raw: Any) -> object:
    """A value that changes with each commit: ``data_version`` with those of other connections, ``total_changes`` with
    ours.

    Read from the raw connection: Django's cursor costs several times as much, and logs every query in debug mode.
    """
    return raw.execute("PRAGMA data_version").fetchone(), raw.total_changes


class NotifyListener(Poller):
    """LISTENs on the connection of the queue, where psycopg 3 talks to the server itself.

    A pooler such as PgBouncer uses another session for each transaction, and notifications get lost. This is recognised
    by the backend's process id, which is not the one that the client knows. If notifications get lost in another way,
    the first row that was found without one shows it, and until the next notification the broker polls like one that
    cannot be woken.
    """

    blocking = told = True

    def __init__(self, session: Session, queue: str) -> None:
        super().__init__(session, queue)
        self._channel = channel_of(queue)
        self._listening: Any = None
        self._heard, self._trusted = False, True

    @property
    def armed(self) -> bool:
        # Inside a transaction nothing is told.
        inside = connections[self._session.alias].in_atomic_block
        return self._listening is not None and self._trusted and not inside

    def arm(self) -> None:
        connection = connections[self._session.alias]
        if connection.connection is not self._listening:
            self._listening = None
        if self._listening is None and self.blocking and not connection.in_atomic_block:
            self.blocking = self._session.execute(self._listen)
        self._heard = False

    def _listen(self, cursor: CursorWrapper) -> bool:
        raw = cursor.connection
        if not hasattr(raw, "pgconn"):
            return False  # psycopg 2
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone() != (raw.info.backend_pid,):
            return False
        # A notification may come within the answer to any query; psycopg drops it if there is no handler.
        raw.add_notify_handler(self._hear)
        cursor.execute(f"LISTEN {self._channel}")
        self._listening = raw
        return True

    def _hear(self, word: Any) -> None:
        if word.channel == self._channel:
            self._heard = self._trusted = True

    def sleep_any(self, pollers: Sequence[Poller], seconds: float) -> Sequence[Poller]:
        listeners = [each for each in pollers if isinstance(each, NotifyListener) and each._listening is not None]
        if len(listeners) < len(pollers):
            return super().sleep_any(pollers, seconds)
        deadline = time.monotonic() + seconds
        while not (woken := [each for each in listeners if each._read()]):
            if (left := deadline - time.monotonic()) <= 0:
                return []
            poll = select.poll()
            poll.register(self._listening.fileno(), select.POLLIN)
            poll.poll(left * 1000)
        return woken

    def _read(self) -> bool:
        """Whether a word has come, or none can come any more."""
        connection = connections[self._session.alias]
        if connection.connection is not self._listening:
            return True
        pgconn = self._listening.pgconn
        try:
            with connection.wrap_database_errors:
                pgconn.consume_input()
                # To all handlers: another broker may listen for another queue on the same connection.
                while word := pgconn.notifies():
                    pgconn.notify_handler(word)
        except Error:
            return True  # the look that follows knows how to deal with it
        return self._heard

    def found(self, *, unprompted: bool) -> None:
        self._trusted = self._trusted and not unprompted


POLLERS: dict[str, type[Poller]] = {"sqlite": FileWatcher, "postgresql": NotifyListener}


def poller_for(session: Session, queue: str) -> Poller:
    """The poller for the database of this session. Opens no connection."""
    return (by_vendor(connections[session.alias], POLLERS) or Poller)(session, queue)
