"""The queue in Redis or Valkey: one Lua script and one round trip for each method, and a wait that sleeps in the
server."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from itertools import count
from typing import Any
from urllib.parse import unquote

from redis.exceptions import ConnectionError as ConnectionBroken
from redis.exceptions import NoScriptError, ResponseError

from django_cluster.brokers import redis_inspection_scripts as inspection_scripts
from django_cluster.brokers import redis_scripts as scripts
from django_cluster.brokers.base import MAX_QUEUE_NAMES, Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.messages import Delivery, Message, QueuedMessage, QueueSize
from django_cluster.brokers.redis_call_guards import RedisClock, SenderPool
from django_cluster.brokers.redis_cluster_connection import open_connection
from django_cluster.brokers.redis_configuration import configuration_warnings
from django_cluster.brokers.redis_entries import (
    call_batches,
    enqueue_calls,
    literal_pattern,
    milliseconds,
    pairs,
    parse_entry,
    queued_message,
    receipt_of,
    shown_text,
    unique_calls,
    without_number,
)
from django_cluster.brokers.redis_errors import ANY_ERROR
from django_cluster.core.events.messages import FOREIGN_KEYS_RENAMED
from django_cluster.core.queue_names import join_escaped
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerUnavailable

BRACES = "{}"
"""Enclose the part of a key that chooses its slot in a Redis Cluster."""
WRONG_TYPE = "WRONGTYPE"
"""Begins the error of a command for a key of another type."""

UNIQUE_NAME_SECONDS = 7 * 24 * 3600
"""Seconds for which a name of ``enqueue_unique`` is kept, unless it is released before."""

MAX_SCAN_CALLS = 20
"""Most ``SCAN`` calls for the names of queues; each reads about a thousand keys."""

SENDER_MEMORY_SECONDS = 120
"""Seconds for which the server keeps the number of a sender's last call: longer than any call is repeated."""

MAX_UNANSWERED_CLAIMS = 64
"""Most claims without an answer that are remembered. Messages leased by others come back when their lease ends."""


class RedisBroker(Broker):
    """One list of entries for each priority; ``redis_scripts`` describes all keys."""

    capabilities = Capabilities(blocking=True, cancel=True)

    def __init__(self, settings: BrokerSettings) -> None:
        super().__init__(settings)
        self._connection = open_connection(settings.options)
        # The braces make Redis Cluster keep all keys of the queue in one slot.
        self._base = f"{{django_cluster:{join_escaped(settings.name, settings.queue, reserved=BRACES)}}}"
        # While a slot moves, a node refuses calls that name several keys unless it has all of them. One of these
        # never exists: so no script ever sees one half of a queue.
        self._keys = (self._base, f"{self._base}:bands") if self._connection.clustered else (self._base,)
        self._calls = count()
        self._holder, self._pid = "", 0
        self._unanswered: dict[str, int] = {}
        """Claims that the server may have carried out although its answer was lost: prefix of the receipts → limit."""
        self._due_at = -math.inf
        """Monotonic time before which no message becomes ready without a wake-up."""
        self._senders = SenderPool()
        self._clock = RedisClock()

    def enqueue(self, messages: Sequence[Message]) -> None:
        calls = list(enqueue_calls(messages))
        sender = self._senders.take()
        try:
            if len(calls) == 1:
                self._run(scripts.ENQUEUE, sender.name, sender.next_number(), SENDER_MEMORY_SECONDS, *calls[0])
            elif calls:
                with self._connection.errors():
                    together = [
                        [sender.name, str(sender.next_number()), str(SENDER_MEMORY_SECONDS), *call] for call in calls
                    ]
                    self._connection.retry_once(lambda: self._together(together))
        finally:
            self._senders.put_back(sender)

    def _together(self, calls: Sequence[Sequence[str]]) -> None:
        """Carry out all of the calls or none, as one transaction (``MULTI``)."""
        pipeline = self._connection.client.pipeline(transaction=True)
        try:
            self._queue_up(pipeline, calls)
            pipeline.execute()
        except NoScriptError:
            # All calls are of the same script: none of them has run.
            self._connection.client.script_load(scripts.ENQUEUE.text)
            self._queue_up(pipeline, calls)
            pipeline.execute()

    def _queue_up(self, pipeline: Any, calls: Sequence[Sequence[str]]) -> None:
        for call in calls:
            # Not by the method: that of a Cluster's pipeline refuses scripts, whose keys may stand anywhere.
            pipeline.execute_command("EVALSHA", scripts.ENQUEUE.sha, len(self._keys), *self._keys, *call)

    def enqueue_unique(self, messages: Sequence[Message], names: Sequence[str]) -> None:
        # Not together: what is left over after an error is sent again, and what was taken is not taken twice.
        for call in unique_calls(messages, names):
            self._run(scripts.ENQUEUE_UNIQUE, UNIQUE_NAME_SECONDS, *call)

    def release_unique(self, names: Sequence[str]) -> None:
        for batch in call_batches(names):
            self._run(scripts.RELEASE_UNIQUE, *batch)

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        deadline = time.monotonic() + wait
        while (now := time.monotonic()) < not_after:
            left = min(deadline, not_after) - now
            deliveries = self._take(min(limit, self.capabilities.bulk), left, not_after)
            if deliveries or deadline <= time.monotonic() or self._clock.is_refused(not_after):
                return deliveries
        return []

    def _take(self, limit: int, wait: float, not_after: float) -> list[Delivery]:
        """Lease messages that are ready, or become ready within ``wait`` seconds.

        If it is known when the next message is due, the wait for the wake-up and the claim are sent as one request: the
        message that wakes us is leased in the same round trip. Messages that a claim without an answer may have leased
        are released first; they would otherwise wait until their lease ends.
        """
        nap = min(wait, self._due_at - time.monotonic(), self._connection.max_block) if wait > 0 else 0.0
        if self._unanswered:
            self._undo_unanswered()
        if not_after < math.inf and not self._clock.known:
            self._claim(limit, 0.0, -math.inf)  # it leases nothing, and says what time it is there
        if self._clock.is_refused(not_after):
            return []
        try:
            deliveries, due = self._claim(limit, nap, not_after)
        except BrokerUnavailable as error:
            if not isinstance(error.__cause__, ConnectionBroken):
                raise
            # Perhaps only this connection is broken. Then the messages of the lost answer can be leased again
            # immediately.
            self._undo_unanswered()
            deliveries, due = self._claim(limit, 0.0, not_after)
        if deliveries:
            self._due_at = -math.inf  # unknown; the next claim asks immediately
        else:
            self._due_at = math.inf if due < 0 else time.monotonic() + due / 1000
        return deliveries

    def _claim(self, limit: int, nap: float, not_after: float) -> tuple[list[Delivery], int]:
        """(deliveries, milliseconds until the next message is due; -1 = none).

        A claim that is sent, or that the server carries out, after the moment ``not_after`` leases nothing.

        Each claim has its own prefix for its receipts, and no claim is sent twice. A claim that was sent before the
        connection broke, or while the server hung, may be carried out much later: it must not overwrite newer leases.
        """
        if time.monotonic() >= not_after > -math.inf:
            return [], 0
        prefix = self._new_prefix()
        if len(self._unanswered) < MAX_UNANSWERED_CLAIMS:
            self._unanswered[prefix] = limit
        claim = scripts.LEASE, prefix, limit, milliseconds(self.settings.lease), self._clock.to_server_ms(not_after)
        moment, *answer = self._run(*claim, first=self._block(nap) if nap > 0 else None, again=False)
        self._unanswered.pop(prefix, None)
        if not answer:
            self._clock.claim_refused(moment, not_after)
            return [], -1
        self._clock.claim_answered(moment)
        entries, due = answer
        deliveries = []
        for place, entry in enumerate(entries):
            _, attempts, payload = parse_entry(entry)
            deliveries.append(Delivery(receipt_of(prefix, place), payload, attempts + 1))
        return deliveries, due

    def _undo_unanswered(self) -> None:
        """Release messages that were leased to us by claims whose answer was lost: no process would renew or run
        them."""
        names = [receipt_of(prefix, place) for prefix, limit in self._unanswered.items() for place in range(limit)]
        self._release(names, refund_attempt=True)
        self._unanswered.clear()

    def _block(self, seconds: float) -> tuple[str | float, ...]:
        """The command that waits for the wake-up. Its timeout must not be 0, which means forever."""
        return "BLPOP", f"{self._base}:wakeup", max(0.001, seconds)

    def wait_any(self, others: Sequence[Broker], seconds: float) -> bool:
        same = [each for each in others if isinstance(each, RedisBroker) and each._is_beside(self)]
        if (
            len(same) < len(others) or self._connection.clustered
        ):  # in a Cluster the wake-up keys are in different slots
            return False
        brokers = [self, *same]
        due = min(each._due_at for each in brokers) - time.monotonic()
        self._sleep(min(seconds, due), [f"{each._base}:wakeup" for each in brokers])
        return True

    def _is_beside(self, other: RedisBroker) -> bool:
        return self.settings.options == other.settings.options

    def _new_prefix(self) -> str:
        """A prefix of receipts that no other process has, and that this broker has only once.

        Not a counter on the server: that of a replica which takes over may lag, and give a number twice.
        """
        if self._pid != os.getpid():
            self._holder, self._pid = os.urandom(8).hex(), os.getpid()
            self._unanswered.clear()  # they are our parent's
        return f"{self._holder}:{next(self._calls)}"

    def _sleep(self, seconds: float, wakeup_keys: Sequence[str]) -> None:
        """Wait for one of the wake-ups. The timeout must not be 0, which means forever."""
        with self._connection.errors():
            self._connection.client.blpop(wakeup_keys, timeout=max(0.001, min(seconds, self._connection.max_block)))

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        lost: list[str] = []
        for batch in call_batches(receipts):
            moment, gone = self._run(scripts.RENEW, milliseconds(self.settings.lease), *batch)
            self._clock.renewal_answered(moment)
            lost += map(shown_text, gone)
        return lost

    def acknowledge(self, receipts: Sequence[str]) -> None:
        for batch in call_batches(receipts):
            self._run(scripts.ACKNOWLEDGE, *batch)

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        self._release([delivery.receipt for delivery in deliveries], delay, refund_attempt=refund_attempt)

    def _release(self, receipts: Sequence[str], delay: float = 0.0, *, refund_attempt: bool) -> None:
        # The last batch first, because each goes in front of what is there.
        for batch in reversed(list(call_batches(receipts))):
            self._run(scripts.RELEASE, milliseconds(delay), int(not refund_attempt), *batch)

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        ready, delayed, leased = self._run(inspection_scripts.PEEK, limit)
        waiting = [queued_message(entry, None) for entry in ready]
        parked = [queued_message(without_number(member), float(due)) for member, due in pairs(delayed)]
        parked += [queued_message(entry, float(due), leased=True) for entry, due in pairs(leased)]
        return [*waiting, *sorted(parked, key=lambda each: each.due or 0.0)][:limit]

    def cancel(self, keys: Sequence[str]) -> int:
        return sum(int(self._run(inspection_scripts.CANCEL, *batch)) for batch in call_batches(keys))

    def size(self) -> QueueSize:
        ready, delayed, leased = self._run(inspection_scripts.SIZE)
        return QueueSize(ready=ready, delayed=delayed, leased=leased)

    def queue_names(self) -> Sequence[str]:
        """From the names of the keys: as many of them as ``MAX_SCAN_CALLS`` calls read. A Redis Cluster lists none."""
        before, after = f"{{django_cluster:{join_escaped(self.settings.name, '', reserved=BRACES)}", "}"
        names, cursor = {self.queue: None}, 0
        for _ in range(0 if self._connection.clustered else MAX_SCAN_CALLS):
            with self._connection.errors():
                cursor, keys = self._connection.client.scan(cursor, match=f"{literal_pattern(before)}*", count=1000)
            parts = (key.decode("utf-8", "replace").removeprefix(before).partition(after) for key in keys)
            names.update(dict.fromkeys(unquote(name) for name, end, _ in parts if end))
            if not cursor or len(names) >= MAX_QUEUE_NAMES:
                break
        return list(names)[:MAX_QUEUE_NAMES]

    def purge(self) -> int:
        return int(self._run(inspection_scripts.PURGE))

    def ping(self) -> None:
        with self._connection.errors():
            self._connection.ping()

    def warnings(self) -> Sequence[str]:
        with self._connection.errors():
            return configuration_warnings(
                self._connection.configuration("maxmemory-policy", "maxmemory", "appendonly", "save")
            )

    def info(self) -> str:
        with self._connection.errors():
            return " ".join(filter(None, ("Redis", self._connection.version(), "at", self._connection.address)))

    def close(self) -> None:
        self._connection.close()

    def _run(
        self, script: scripts.Script, *arguments: str | int, first: Sequence[Any] | None = None, again: bool = True
    ) -> Any:
        """Run a script; returns its answer. ``first``: a command that is sent and answered before it.

        ``again``: whether it is sent another time when the connection breaks, be it before or after it was carried out.
        """
        before = () if first is None else (first,)
        key, named = self._keys[0], (len(self._keys), *self._keys, *arguments)
        try:
            try:
                return self._connection.call(*before, ("EVALSHA", script.sha, *named), key=key, again=again)[-1]
            except NoScriptError:
                return self._connection.call(("EVAL", script.text, *named), key=key, again=again)[-1]
            except ResponseError as error:
                # Not again: the script may have done a part, and may think that it has done all. The next call works.
                if WRONG_TYPE in str(error):
                    self._rename_foreign_keys()
                raise
        except ANY_ERROR as error:
            raise self._connection.translate(error) from error

    def _rename_foreign_keys(self) -> None:
        """Rename the keys of this queue that hold what none of ours does."""
        answer = self._connection.call(
            ("EVAL", inspection_scripts.RENAME_FOREIGN_KEYS.text, len(self._keys), *self._keys), key=self._keys[0]
        )[-1]
        if names := ", ".join(map(shown_text, answer)):
            FOREIGN_KEYS_RENAMED.log(queue=self.queue, value=names)
