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

from django_cluster.brokers.base import MAX_QUEUE_NAMES, Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize, attempts_from
from django_cluster.brokers.orm_dialect_base import Dialect
from django_cluster.brokers.orm_dialects import dialect_of
from django_cluster.brokers.orm_publisher import TablePublisher, needs_several_statements
from django_cluster.brokers.orm_rows import (
    FRONT_OFFSET,
    MAX_PROMOTIONS,
    MICROSECONDS,
    NOT_READY_LANE,
    ORDER,
    READY_LANE,
    decode_column,
    format_receipt,
    whole_number,
)
from django_cluster.brokers.orm_session import queue_session
from django_cluster.brokers.orm_wakeup import poller_for
from django_cluster.core.queue_names import DELAY_QUEUE_PREFIX, parse_queue_name, table_queue_name
from django_cluster.core.row_insert import RowInsert
from django_cluster.core.settings import BrokerSettings
from django_cluster.core.sqlite_options import chooses_journal
from django_cluster.database.clock import ClockOffset
from django_cluster.database.dialect import is_mysql, is_postgresql, is_sqlite
from django_cluster.errors import BrokerUnavailable
from django_cluster.models.queued_task import QueuedTask

CHECK_INTERVAL_SECONDS = 0.25
"""Seconds after which a busy broker checks for rows that have become due."""

IDLE_GROWTH, IDLE_POLLS, MAX_IDLE_SECONDS = 1.25, 5, 1.0
"""Factor by which the pause between two polls grows while nothing comes; at most this many ``poll`` and seconds."""

KEY_PATTERN = re.compile(r"-?[0-9]{1,19}", re.ASCII)
"""Text that the database can compare with its keys."""

SLOW_ANSWER_SECONDS = 1.0
"""Seconds after which an answer is late, unless a sixth of the lease is more: the server hung, or was away."""

RENEWAL_GRACE_SECONDS = 6.0
"""Seconds for which the leases of other clusters are not ended after the server was away: it was away for them too,
and they try again to renew within five seconds."""

CLEANUP_INTERVAL_SECONDS = 60.0
"""Seconds between two looks for notes of acknowledged messages that are too old."""

SAFETY_POLL_SECONDS = 5.0
"""Seconds after which a broker that is woken looks all the same: for rows of dead clusters, and of strangers."""


class OrmBroker(Broker):
    """Rows of ``QueuedTask``, which describes how ``lane`` and ``due`` say what can be leased."""

    capabilities = Capabilities(cancel=True)

    database: str

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self.database = settings.options.get("alias") or router.db_for_write(QueuedTask)
        self._session = queue_session(self.database)
        self._place = table_queue_name(settings.name, settings.queue)
        """The queue in the table, which other namespaces may use as well."""
        self._publisher = TablePublisher(self._session, self._place)
        self._poller = poller_for(self._session, self._place)
        self.capabilities = replace(type(self).capabilities, blocking=self._poller.blocking)
        self._busy = False
        self._check_at = self._idle_until = 0.0
        self._unprompted = False
        self._next_due: float | None = None
        self._pause = settings.poll
        self._clock = ClockOffset()
        self._not_after = math.inf
        self._expire_at = 0.0
        self._cleanup_at = time.monotonic() + CLEANUP_INTERVAL_SECONDS

    @cached_property
    def _dialect(self) -> Dialect:
        return dialect_of(connections[self.database])

    def prepare(self) -> None:
        """On SQLite: write ahead, so that readers and the writer do not block each other. The file remembers it."""
        connection = connections[self.database]
        if is_sqlite(connection) and not chooses_journal(connection.settings_dict):
            self._session.execute(lambda cursor: cursor.execute("PRAGMA journal_mode=WAL"))

    def enqueue(self, messages: Sequence[Message]) -> None:
        if messages:
            self._publisher.publish(messages)

    def enqueue_with(self, messages: Sequence[Message], insert: RowInsert) -> bool:
        if not is_postgresql(connections[self.database]) or needs_several_statements(messages):
            return False
        self._publisher.publish(messages, insert)
        return True

    def enqueue_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        if messages:
            self._publisher.publish_unique(messages, names)

    def release_unique(self, names: Sequence[str]) -> None:
        self._publisher.release_unique(names)

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        self._not_after = not_after
        try:
            return self._lease(limit, wait)
        except BrokerUnavailable:
            self._expire_at = math.inf  # until it has answered
            raise

    def _lease(self, limit: int, wait: float) -> Sequence[Delivery]:
        if wait <= 0 or not self._poller.armed:
            self._idle_until, self._unprompted = 0.0, False
        if wait <= 0:
            return self._take(limit)
        deadline = min(time.monotonic() + wait, self._not_after)
        deliveries = self._take_if_due(limit)
        while not deliveries and (left := deadline - time.monotonic()) > 0:
            if self._poller.sleep(max(0.001, min(left, self._idle_until - time.monotonic()))):
                self._idle_until, self._unprompted = 0.0, False
                if self._poller.told:  # then the claim need not be preceded by a look
                    self._busy, self._check_at = True, time.monotonic() + CHECK_INTERVAL_SECONDS
            deliveries = self._take_if_due(limit)
        return deliveries

    def wait_any(self, others: Sequence[Broker], seconds: float) -> bool:
        same = [each for each in others if isinstance(each, OrmBroker) and each.database == self.database]
        if len(same) < len(others):
            return False
        brokers = {each._poller: each for each in (self, *same)}
        idle = min(each._idle_until for each in brokers.values()) - time.monotonic()
        for poller in self._poller.sleep_any(list(brokers), max(0.001, min(seconds, idle))):
            brokers[poller]._idle_until, brokers[poller]._unprompted = 0.0, False
        return True

    def _take_if_due(self, limit: int) -> list[Delivery]:
        """Lease ready messages, unless it is known since the last call that there are none."""
        if not self._busy and time.monotonic() < self._idle_until:
            return []
        self._poller.arm()
        if self.capabilities.blocking and not self._poller.blocking:
            self.capabilities = type(self).capabilities
        deliveries = self._take(limit)
        if not deliveries:
            self._idle_until = time.monotonic() + self._idle_seconds()
            return []
        self._poller.found(unprompted=self._unprompted)
        self._idle_until, self._unprompted, self._pause = 0.0, False, self.settings.poll
        return deliveries

    def _idle_seconds(self) -> float:
        """How long nothing can come, or not without waking us."""
        if self._poller.armed:
            seconds = min(SAFETY_POLL_SECONDS, self.settings.lease)
        else:
            seconds = self._pause
            longest = max(self.settings.poll, min(IDLE_POLLS * self.settings.poll, MAX_IDLE_SECONDS))
            self._pause = min(self._pause * IDLE_GROWTH, longest)
        due = math.inf if self._next_due is None else self._next_due
        self._unprompted = self._poller.armed and due > seconds
        return min(seconds, due)

    def _take(self, limit: int) -> list[Delivery]:
        """Lease ready messages. A busy broker claims immediately; an idle one reads the state first, which takes no
        lock."""
        if time.monotonic() >= self._not_after:
            return []
        if not self._busy or time.monotonic() >= self._check_at or not self._clock.known:
            self._busy = self._read_state()
        if not self._busy:
            return []
        deliveries = self._claim(limit)
        if not deliveries:
            # The rest may have become due since the last look.
            self._busy = self._read_state()
            deliveries = self._claim(limit) if self._busy else []
        return deliveries

    def _claim(self, limit: int) -> list[Delivery]:
        asked = time.monotonic()
        if asked >= self._not_after:
            return []
        # It may be carried out much later: by a server that hung, or when this process was stopped before it sent.
        dialect, lease, latest = self._dialect, self.settings.lease, self._clock.latest(self._not_after)
        rows = self._session.execute(
            lambda cursor: dialect.claim(cursor, self._place, limit, lease, latest), atomic=self._two_steps
        )
        deliveries = [Delivery(format_receipt(row), row.payload, row.attempts) for row in rows]
        if deliveries and time.monotonic() - asked > lease / 3:  # others may have leased it since
            lost = set(self.renew([delivery.receipt for delivery in deliveries]))
            return [delivery for delivery in deliveries if delivery.receipt not in lost]
        return deliveries

    def _read_state(self) -> bool:
        """Whether something is ready, now that everything due has been made so."""
        dialect, asked = self._dialect, time.monotonic()
        look = self._session.execute(lambda cursor: dialect.read_state(cursor, self._place))
        if look.read_only:
            # Which server may write, the next connection shows: this one is closed if it cannot.
            self._session.execute(dialect.check_writable)
            look = self._session.execute(lambda cursor: dialect.read_state(cursor, self._place))
        ready, self._next_due, now = look.ready, look.next_due, look.now
        answered = time.monotonic()
        self._clock.learn(asked, answered, now)
        self._check_at = answered + CHECK_INTERVAL_SECONDS
        if self._expire_at == math.inf or answered - asked > max(SLOW_ANSWER_SECONDS, self.settings.lease / 6):
            self._expire_at = answered + RENEWAL_GRACE_SECONDS
        if answered >= self._cleanup_at and dialect.answers_can_be_lost:
            self._cleanup_at = answered + CLEANUP_INTERVAL_SECONDS
            self._session.execute(dialect.forget_acknowledged)
        if self._next_due is None or self._next_due > 0:
            return ready
        promoted = self._promote(lapsed=answered >= self._expire_at)
        # None made ready: others are at it, and may leave some to us.
        self._next_due = None if promoted else self.settings.poll
        if promoted >= MAX_PROMOTIONS:
            self._check_at = 0.0
        return ready or promoted > 0

    def _promote(self, *, lapsed: bool) -> int:
        dialect, latest = self._dialect, self._clock.latest(self._not_after)
        return self._session.execute(
            lambda cursor: dialect.promote(cursor, self._place, latest, lapsed=lapsed), atomic=self._two_steps
        )

    @property
    def _two_steps(self) -> bool:
        return is_mysql(connections[self.database])

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        if not receipts:
            return []
        # What was made ready meanwhile, and leased by no other, is taken back.
        place = f"lane = {NOT_READY_LANE}, due = {{now}} + %s, leased = TRUE"
        renewed = self._change(f"UPDATE {{table}} SET {place}", receipts, int(self.settings.lease * MICROSECONDS))
        if renewed == len(receipts):
            return []
        held, params = self._dialect.lease_condition(receipts)
        query = f"SELECT id, lease_number FROM {self._dialect.table} WHERE {held}"
        ours = {f"{id}:{number}" for id, number in self._rows(query, params)}
        return [receipt for receipt in receipts if receipt not in ours]

    def acknowledge(self, receipts: Sequence[str]) -> None:
        if receipts:
            dialect = self._dialect
            self._session.execute(lambda cursor: dialect.acknowledge(cursor, receipts), atomic=self._two_steps)

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        receipts = [delivery.receipt for delivery in deliveries]
        place = (
            f"lane = {NOT_READY_LANE}, due = {{now}} + %s" if delay > 0 else f"lane = {READY_LANE}, due = {{now}} - %s"
        )
        moment = int(delay * MICROSECONDS) if delay > 0 else FRONT_OFFSET
        refund = ", attempts = attempts - 1" if refund_attempt else ""
        # Another number, so that the receipt is worth nothing from here on.
        ended = "leased = FALSE, lease_number = lease_number + 1"
        self._change(f"UPDATE {{table}} SET {place}, {ended}{refund}", receipts, moment, notify=True)

    def _change(self, statement: str, receipts: Sequence[str], *params: int, notify: bool = False) -> int:
        """Do this to the rows that were leased last under these receipts; returns how many, unless announced."""
        if not receipts:
            return 0
        held, held_params = self._dialect.lease_condition(receipts)
        query = f"{statement.format(table=self._dialect.table, now=self._dialect.now)} WHERE {held}"
        if notify:
            query = self._dialect.with_notify(query, self._place)

        def change(cursor: CursorWrapper) -> int:
            cursor.execute(query, [*params, *held_params])
            return int(cursor.rowcount)

        return self._session.execute(change)

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        columns = f"{self._dialect.payload}, priority, attempts, lane, due, leased, id"
        query = f"SELECT {columns} FROM {self._dialect.table} WHERE queue = %s ORDER BY {ORDER} LIMIT %s"
        return [
            QueuedMessage(
                decode_column(payload),
                whole_number(priority),
                attempts_from(attempts),
                whole_number(due) / MICROSECONDS if lane == NOT_READY_LANE else None,
                bool(leased),
                str(id),
            )
            for payload, priority, attempts, lane, due, leased, id in self._rows(query, [self._place, limit])
        ]

    def cancel(self, keys: Sequence[str]) -> int:
        dialect = self._dialect
        ids = ", ".join(key for key in keys if KEY_PATTERN.fullmatch(key)) or "NULL"
        waits = f"NOT leased OR due <= {dialect.now}"
        query = f"DELETE FROM {dialect.table} WHERE queue = %s AND id IN ({ids}) AND ({waits})"

        def delete(cursor: CursorWrapper) -> int:
            cursor.execute(query, [self._place])
            return int(cursor.rowcount)

        return self._session.execute(delete)

    def size(self) -> QueueSize:
        ready = f"lane < {NOT_READY_LANE} OR due <= {self._dialect.now}"
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
        found = ((name, parse_queue_name(name)) for name in names if not name.startswith(DELAY_QUEUE_PREFIX))
        return [queue for name, queue in found if name == table_queue_name(site, queue)]

    def purge(self) -> int:
        def delete(cursor: CursorWrapper) -> int:
            cursor.execute(f"DELETE FROM {self._dialect.table} WHERE queue = %s", [self._place])
            return int(cursor.rowcount)

        return self._session.execute(delete, seconds=math.inf)  # millions of rows take their time

    def _rows(self, query: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        def fetch(cursor: CursorWrapper) -> list[tuple[Any, ...]]:
            cursor.execute(query, params)
            return list(cursor.fetchall())

        return self._session.execute(fetch)

    def ping(self) -> None:
        self._rows("SELECT 1", [])

    def info(self) -> str:
        return f"{connections[self.database].display_name} database {self.database!r}"

    def close(self) -> None:
        self._session.close()
