"""How an idle ORM broker sleeps: woken by PostgreSQL, with an eye on SQLite's file, or for a while.

Whoever is about to look arms its poller first. What is committed after that ends the sleep, so nothing can
come unseen between the look that finds nothing and the sleep.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any

from django.db import Error, connections
from django.db.backends.utils import CursorWrapper

from django_cluster.brokers.orm_dialects import channel_of
from django_cluster.database.dialect import by_vendor
from django_cluster.database.session import Session

MIN_GLANCE_SECONDS, GLANCE_GROWTH, MAX_GLANCE_SECONDS = 0.005, 1.1, 0.025
"""Seconds between two glances at a file at first, how they grow while nothing comes, and up to what. To wake up
costs a process more than the change_counter itself, which asks for no lock."""


class Poller:
    """Sleeps, and nothing wakes it: MariaDB, and every database inside a transaction of the caller."""

    blocking = False
    """Whether it can be woken at all."""
    told = False
    """Whether it is woken by nothing but a message of its queue."""

    def __init__(self, session: Session, queue: str) -> None:
        self._session = session

    @property
    def armed(self) -> bool:
        """Whether a change that has come since the last ``arm`` is sure to end the sleep."""
        return False

    def arm(self) -> None:
        """Called before a look."""

    def sleep(self, seconds: float) -> bool:
        """Sleep for so long at most; returns whether something may have come since it was armed."""
        return bool(self.sleep_any([self], seconds))

    def sleep_any(self, pollers: Sequence[Poller], seconds: float) -> Sequence[Poller]:
        """The same for several, this one among them, that sleep at one connection; returns those for whom it is so."""
        time.sleep(seconds)
        return []

    def found(self, *, unprompted: bool) -> None:
        """Told that something has come, and whether it should have ended a sleep and did not."""


class FileWatcher(Poller):
    """Glances at the number that SQLite changes with each commit."""

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
    """What differs after any commit: the number tells of those of others, our own are counted beside it.

    Not by Django's cursor, which costs several times as much and writes a log while debugging.
    """
    return raw.execute("PRAGMA data_version").fetchone(), raw.total_changes


class NotifyListener(Poller):
    """LISTENs on the connection of the queue, where psycopg 3 talks to the server itself.

    A pooler between them lends another session for each transaction, and the words for us go astray. It shows
    in the number of the session, which is not the one that the server knows. Should words go astray in another
    way, the first row that was found without one says so, and until the next word the broker looks as often as
    one that cannot be woken.
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
        # A word may come in the midst of the answer to any query; what is not handled at once is lost.
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
    """The best that the database of this session can do; nothing is opened yet."""
    return (by_vendor(connections[session.alias], POLLERS) or Poller)(session, queue)
