"""The queue as a table of the project's own database: messages are part of the caller's transaction."""

# ruff: noqa: S608  what is put into the SQL here is ours: the name of our table, constants, and integers

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from django.db import connections, router
from django.db.backends.utils import CursorWrapper

from django_cluster.brokers.base import (
    MAX_QUEUE_NAMES,
    Broker,
    Capabilities,
    Delivery,
    Message,
    QueueSize,
    Waiting,
    attempts_from,
)
from django_cluster.brokers.orm_dialects import (
    FRONT,
    ORDER,
    PARKED,
    PROMOTIONS,
    READY_LANE,
    SECOND,
    Dialect,
    dialect_of,
    receipt_of,
    text_of,
    whole_number,
)
from django_cluster.brokers.orm_sending import Sending
from django_cluster.brokers.orm_session import Session
from django_cluster.brokers.orm_waiting import sleeper_for
from django_cluster.core.places import WAITING_ROOM, in_table, queue_in
from django_cluster.core.settings import BrokerSettings
from django_cluster.core.sqlite_options import chooses_journal
from django_cluster.errors import BrokerUnavailable
from django_cluster.models.clock import ClockOffset
from django_cluster.models.queued_task import QueuedTask

LOOK_INTERVAL = 0.25
"""Seconds after which a busy broker looks for rows that have become due."""

IDLE_GROWTH, IDLE_POLLS, IDLE_SECONDS = 1.25, 5, 1.0
"""The pause between two looks grows by a factor while nothing comes, up to so many ``poll`` and so many seconds."""

KEY = re.compile(r"-?[0-9]{1,19}", re.ASCII)
"""What the database can compare with its own keys."""

SLOW_ANSWER = 1.0
"""Seconds after which an answer is late, unless a sixth of the lease is more: the server hung, or was away."""

RENEWAL_GRACE = 6.0
"""Seconds for which the leases of other clusters are not ended after the server was away: it was away for them too,
and they try again to renew within five seconds."""

FORGET_EVERY = 60.0
"""Seconds between two looks for notes of acknowledged messages that are too old."""

NET = 5.0
"""Seconds after which a broker that is woken looks all the same: for rows of dead clusters, and of strangers."""


class OrmBroker(Broker):
    """Rows of ``QueuedTask``; see there how ``lane`` and ``due`` say what can be lent."""

    capabilities = Capabilities(withdraw=True)

    database: str

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self.database = settings.options.get("alias") or router.db_for_write(QueuedTask)
        self._session = Session(self.database)
        self._place = in_table(settings.name, settings.queue)
        """The queue in the table, which other sites may use as well."""
        self._sending = Sending(self._session, self._place)
        self._sleeper = sleeper_for(self._session, self._place)
        self.capabilities = replace(type(self).capabilities, blocking=self._sleeper.blocking)
        self._busy = False
        self._look_at = self._idle_until = 0.0
        self._unprompted = False
        self._next_due: float | None = None
        self._pause = settings.poll
        self._clock = ClockOffset()
        self._not_after = math.inf
        self._reap_at = 0.0
        self._forget_at = time.monotonic() + FORGET_EVERY

    @cached_property
    def _dialect(self) -> Dialect:
        return dialect_of(connections[self.database])

    def prepare(self) -> None:
        """On SQLite: write ahead, so that readers and the writer do not block each other. The file remembers it."""
        connection = connections[self.database]
        if connection.vendor == "sqlite" and not chooses_journal(connection.settings_dict):
            self._session.run(lambda cursor: cursor.execute("PRAGMA journal_mode=WAL"))

    def enqueue(self, messages: Sequence[Message]) -> None:
        if messages:
            self._sending.send(messages)

    def enqueue_once(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        if messages:
            self._sending.send_once(messages, names)

    def forget_once(self, names: Sequence[str]) -> None:
        self._sending.forget(names)

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        self._not_after = not_after
        try:
            return self._lease(limit, wait)
        except BrokerUnavailable:
            self._reap_at = math.inf  # until it has answered
            raise

    def _lease(self, limit: int, wait: float) -> Sequence[Delivery]:
        if wait <= 0 or not self._sleeper.armed:
            self._idle_until, self._unprompted = 0.0, False
        if wait <= 0:
            return self._take(limit)
        deadline = min(time.monotonic() + wait, self._not_after)
        deliveries = self._visit(limit)
        while not deliveries and (left := deadline - time.monotonic()) > 0:
            if self._sleeper.sleep(max(0.001, min(left, self._idle_until - time.monotonic()))):
                self._idle_until, self._unprompted = 0.0, False
                if self._sleeper.told:  # then the claim need not be preceded by a look
                    self._busy, self._look_at = True, time.monotonic() + LOOK_INTERVAL
            deliveries = self._visit(limit)
        return deliveries

    def wait_with(self, others: Sequence[Broker], seconds: float) -> bool:
        same = [each for each in others if isinstance(each, OrmBroker) and each.database == self.database]
        if len(same) < len(others):
            return False
        brokers = {each._sleeper: each for each in (self, *same)}
        idle = min(each._idle_until for each in brokers.values()) - time.monotonic()
        for sleeper in self._sleeper.sleep_with(list(brokers), max(0.001, min(seconds, idle))):
            brokers[sleeper]._idle_until, brokers[sleeper]._unprompted = 0.0, False
        return True

    def _visit(self, limit: int) -> list[Delivery]:
        """Lend what is ready, unless it is known since the last visit that nothing is."""
        if not self._busy and time.monotonic() < self._idle_until:
            return []
        self._sleeper.arm()
        if self.capabilities.blocking and not self._sleeper.blocking:
            self.capabilities = type(self).capabilities
        deliveries = self._take(limit)
        if not deliveries:
            self._idle_until = time.monotonic() + self._idle_seconds()
            return []
        self._sleeper.found(unprompted=self._unprompted)
        self._idle_until, self._unprompted, self._pause = 0.0, False, self.settings.poll
        return deliveries

    def _idle_seconds(self) -> float:
        """How long nothing can come, or not without waking us."""
        if self._sleeper.armed:
            seconds = min(NET, self.settings.lease)
        else:
            seconds = self._pause
            longest = max(self.settings.poll, min(IDLE_POLLS * self.settings.poll, IDLE_SECONDS))
            self._pause = min(self._pause * IDLE_GROWTH, longest)
        due = math.inf if self._next_due is None else self._next_due
        self._unprompted = self._sleeper.armed and due > seconds
        return min(seconds, due)

    def _take(self, limit: int) -> list[Delivery]:
        """Lend what is ready now. A busy broker claims at once; an idle one looks first, which locks nothing."""
        if time.monotonic() >= self._not_after:
            return []
        if not self._busy or time.monotonic() >= self._look_at or not self._clock.known:
            self._busy = self._look()
        if not self._busy:
            return []
        deliveries = self._claim(limit)
        if not deliveries:
            # The rest may have become due since the last look.
            self._busy = self._look()
            deliveries = self._claim(limit) if self._busy else []
        return deliveries

    def _claim(self, limit: int) -> list[Delivery]:
        asked = time.monotonic()
        if asked >= self._not_after:
            return []
        # It may be carried out much later: by a server that hung, or when this process was stopped before it sent.
        dialect, lease, latest = self._dialect, self.settings.lease, self._clock.latest(self._not_after)
        rows = self._session.run(
            lambda cursor: dialect.claim(cursor, self._place, limit, lease, latest), atomic=self._two_steps
        )
        deliveries = [Delivery(receipt_of(row), row.payload, row.attempts) for row in rows]
        if deliveries and time.monotonic() - asked > lease / 3:  # others may have leased it since
            lost = set(self.renew([delivery.receipt for delivery in deliveries]))
            return [delivery for delivery in deliveries if delivery.receipt not in lost]
        return deliveries

    def _look(self) -> bool:
        """Whether something is ready, now that everything due has been made so."""
        dialect, asked = self._dialect, time.monotonic()
        look = self._session.run(lambda cursor: dialect.look(cursor, self._place))
        if look.read_only:
            # Which server may write, the next connection shows: this one is closed if it cannot.
            self._session.run(dialect.write_nothing)
            look = self._session.run(lambda cursor: dialect.look(cursor, self._place))
        ready, self._next_due, now = look.ready, look.next_due, look.now
        answered = time.monotonic()
        self._clock.learn(asked, answered, now)
        self._look_at = answered + LOOK_INTERVAL
        if self._reap_at == math.inf or answered - asked > max(SLOW_ANSWER, self.settings.lease / 6):
            self._reap_at = answered + RENEWAL_GRACE
        if answered >= self._forget_at and dialect.loses_answers:
            self._forget_at = answered + FORGET_EVERY
            self._session.run(dialect.forget_acknowledged)
        if self._next_due is None or self._next_due > 0:
            return ready
        promoted = self._promote(lapsed=answered >= self._reap_at)
        # None made ready: others are at it, and may leave some to us.
        self._next_due = None if promoted else self.settings.poll
        if promoted >= PROMOTIONS:
            self._look_at = 0.0
        return ready or promoted > 0

    def _promote(self, *, lapsed: bool) -> int:
        dialect, latest = self._dialect, self._clock.latest(self._not_after)
        return self._session.run(
            lambda cursor: dialect.promote(cursor, self._place, latest, lapsed=lapsed), atomic=self._two_steps
        )

    @property
    def _two_steps(self) -> bool:
        return connections[self.database].vendor == "mysql"

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        if not receipts:
            return []
        # What was made ready meanwhile, and leased by no other, is taken back.
        place = f"lane = {PARKED}, due = {{now}} + %s, leased = TRUE"
        renewed = self._change(f"UPDATE {{table}} SET {place}", receipts, int(self.settings.lease * SECOND))
        if renewed == len(receipts):
            return []
        held, params = self._dialect.held(receipts)
        query = f"SELECT id, lease_number FROM {self._dialect.table} WHERE {held}"
        ours = {f"{id}:{number}" for id, number in self._rows(query, params)}
        return [receipt for receipt in receipts if receipt not in ours]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        if receipts:
            dialect = self._dialect
            self._session.run(lambda cursor: dialect.acknowledge(cursor, receipts), atomic=self._two_steps)

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, begun: bool = True) -> None:
        place = f"lane = {PARKED}, due = {{now}} + %s" if delay > 0 else f"lane = {READY_LANE}, due = {{now}} - %s"
        moment = int(delay * SECOND) if delay > 0 else FRONT
        refund = "" if begun else ", attempts = attempts - 1"
        # Another number, so that the receipt is worth nothing from here on.
        ended = "leased = FALSE, lease_number = lease_number + 1"
        self._change(f"UPDATE {{table}} SET {place}, {ended}{refund}", receipts, moment, announce=True)

    def _change(self, statement: str, receipts: Sequence[str], *params: int, announce: bool = False) -> int:
        """Do this to the rows that were leased last under these receipts; returns how many, unless announced."""
        if not receipts:
            return 0
        held, held_params = self._dialect.held(receipts)
        query = f"{statement.format(table=self._dialect.table, now=self._dialect.now)} WHERE {held}"
        if announce:
            query = self._dialect.announced(query, self._place)

        def change(cursor: CursorWrapper) -> int:
            cursor.execute(query, [*params, *held_params])
            return int(cursor.rowcount)

        return self._session.run(change)

    def peek(self, limit: int = 100) -> Sequence[Waiting]:
        columns = f"{self._dialect.payload}, priority, attempts, lane, due, leased, id"
        query = f"SELECT {columns} FROM {self._dialect.table} WHERE queue = %s ORDER BY {ORDER} LIMIT %s"
        return [
            Waiting(
                text_of(payload),
                whole_number(priority),
                attempts_from(attempts),
                whole_number(due) / SECOND if lane == PARKED else None,
                bool(leased),
                str(id),
            )
            for payload, priority, attempts, lane, due, leased, id in self._rows(query, [self._place, limit])
        ]

    def withdraw(self, keys: Sequence[str]) -> int:
        dialect = self._dialect
        ids = ", ".join(key for key in keys if KEY.fullmatch(key)) or "NULL"
        waits = f"NOT leased OR due <= {dialect.now}"
        query = f"DELETE FROM {dialect.table} WHERE queue = %s AND id IN ({ids}) AND ({waits})"

        def delete(cursor: CursorWrapper) -> int:
            cursor.execute(query, [self._place])
            return int(cursor.rowcount)

        return self._session.run(delete)

    def size(self) -> QueueSize:
        ready = f"lane < {PARKED} OR due <= {self._dialect.now}"
        query = (
            f"SELECT state, COUNT(*) FROM (SELECT CASE WHEN {ready} THEN 0 WHEN leased THEN 2 ELSE 1 END AS state"
            f" FROM {self._dialect.table} WHERE queue = %s) AS states GROUP BY state"
        )
        counts: dict[int, int] = dict(self._rows(query, [self._place]))
        return QueueSize(ready=counts.get(0, 0), delayed=counts.get(1, 0), leased=counts.get(2, 0))

    def queue_names(self) -> Sequence[str]:
        """From one name to the next through the index: the same cost however many messages there are."""
        names: list[str] = []
        query = f"SELECT MIN(queue) FROM {self._dialect.table} WHERE queue > %s"
        while len(names) < MAX_QUEUE_NAMES and (name := self._rows(query, [names[-1] if names else ""])[0][0]):
            names.append(name)
        site = self.settings.name
        found = ((name, queue_in(name)) for name in names if not name.startswith(WAITING_ROOM))
        return [queue for name, queue in found if name == in_table(site, queue)]

    def purge(self) -> int:
        def delete(cursor: CursorWrapper) -> int:
            cursor.execute(f"DELETE FROM {self._dialect.table} WHERE queue = %s", [self._place])
            return int(cursor.rowcount)

        return self._session.run(delete, seconds=math.inf)  # millions of rows take their time

    def _rows(self, query: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        def fetch(cursor: CursorWrapper) -> list[tuple[Any, ...]]:
            cursor.execute(query, params)
            return list(cursor.fetchall())

        return self._session.run(fetch)

    def ping(self) -> None:
        self._rows("SELECT 1", [])

    def info(self) -> str:
        return f"{connections[self.database].display_name} database {self.database!r}"

    def close(self) -> None:
        self._session.close()
