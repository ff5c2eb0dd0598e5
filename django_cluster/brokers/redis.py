"""The queue in Redis or Valkey: at least once, one round trip a verb, and a wait that sleeps in the server."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import unquote

from redis.exceptions import ConnectionError as ConnectionBroken
from redis.exceptions import NoScriptError, ResponseError

from django_cluster.brokers import redis_scripts as scripts
from django_cluster.brokers.base import (
    MAX_QUEUE_NAMES,
    Broker,
    Capabilities,
    Delivery,
    Message,
    QueuedMessage,
    QueueSize,
)
from django_cluster.brokers.redis_call_guards import RedisClock, SenderPool
from django_cluster.brokers.redis_connection import ANY_ERROR, open_connection
from django_cluster.core.events.messages import FOREIGN_KEYS_RENAMED
from django_cluster.core.queue_names import join_escaped
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerUnavailable

BRACES = "{}"
"""They say in a Redis Cluster which keys belong together."""
WRONG_TYPE = "WRONGTYPE"
"""In what the server says when a key holds something of another kind."""

MAX_CALL_MESSAGES, MAX_CALL_CHARACTERS = 1000, 4_000_000
"""What one call of a script carries at most; Lua's stack is limited, and so is the patience of other clients."""

UNIQUE_NAME_SECONDS = 7 * 24 * 3600
"""Seconds for which the name of a message is kept that was to be taken once, unless it is forgotten before."""

MAX_SCAN_CALLS = 20
"""Calls that look for the names of queues; each reads about a thousand keys."""

SENDER_MEMORY_SECONDS = 120
"""Seconds for which the server knows the last call of each sender: longer than any call is repeated."""

MAX_UNANSWERED_CLAIMS = 64
"""Claims without an answer that are remembered; what a later one has lent comes back when its lease ends."""

DELAYED_HEAD = re.compile(rb"\A[0-9]+:")
ENTRY_HEAD = re.compile(rb"(-?[0-9]{1,9}):([0-9]{1,9}):")


class RedisBroker(Broker):
    """Lists of entries, and a lease for each that is lent; ``redis_scripts`` has the layout."""

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
        """Claims that the server may have carried out, although its answer has not come: prefix and limit."""
        self._due_at = -math.inf
        """Monotonic moment before which nothing becomes ready without waking us."""
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
        """All of the calls, or none: the server takes them as one transaction."""
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
        for portion in _portions(names):
            self._run(scripts.RELEASE_UNIQUE, *portion)

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        deadline = time.monotonic() + wait
        while (now := time.monotonic()) < not_after:
            left = min(deadline, not_after) - now
            deliveries = self._take(min(limit, self.capabilities.bulk), left, not_after)
            if deliveries or deadline <= time.monotonic() or self._clock.is_refused(not_after):
                return deliveries
        return []

    def _take(self, limit: int, wait: float, not_after: float) -> list[Delivery]:
        """What is ready, or will be within ``wait`` seconds.

        Where it is known when the next message is due, the wait for the wake-up and the claim are one request:
        what wakes us is lent before we hear of it. What a claim without an answer may have lent is given
        back first, so that nothing waits until a lease ends of which nobody knows.
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
            # Perhaps nothing is broken but this connection. Then what it did not bring us is to be had again at once.
            self._undo_unanswered()
            deliveries, due = self._claim(limit, 0.0, not_after)
        if deliveries:
            self._due_at = -math.inf  # nobody knows; the next claim asks at once
        else:
            self._due_at = math.inf if due < 0 else time.monotonic() + due / 1000
        return deliveries

    def _claim(self, limit: int, nap: float, not_after: float) -> tuple[list[Delivery], int]:
        """What is lent, and in how many milliseconds something is due (-1 = nothing).

        A claim that is sent, or that the server carries out, after the moment ``not_after`` leases nothing.

        Each claim has names of its own for its receipts, and none is sent twice. What was sent before a connection
        broke, or while the server hung, may be carried out much later: it must not write over what is lent by then.
        """
        if time.monotonic() >= not_after > -math.inf:
            return [], 0
        prefix = self._new_prefix()
        if len(self._unanswered) < MAX_UNANSWERED_CLAIMS:
            self._unanswered[prefix] = limit
        claim = scripts.LEASE, prefix, limit, _milliseconds(self.settings.lease), self._clock.to_server_ms(not_after)
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
            deliveries.append(Delivery(_receipt(prefix, place), payload, attempts + 1))
        return deliveries, due

    def _undo_unanswered(self) -> None:
        """Give back what was lent to us without our knowing; nobody would renew it, nor begin it, until it ended."""
        names = [_receipt(prefix, place) for prefix, limit in self._unanswered.items() for place in range(limit)]
        self._release(names, refund_attempt=True)
        self._unanswered.clear()

    def _block(self, seconds: float) -> tuple[str | float, ...]:
        """Until the wake-up comes, at most so long. A time-out of 0 would mean for ever."""
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
        """The beginning of receipts that nobody else has, and that this broker never has again.

        Not a counter on the server: that of a replica which takes over may lag, and give a number twice.
        """
        if self._pid != os.getpid():
            self._holder, self._pid = os.urandom(8).hex(), os.getpid()
            self._unanswered.clear()  # they are our parent's
        return f"{self._holder}:{next(self._calls)}"

    def _sleep(self, seconds: float, wakeup_keys: Sequence[str]) -> None:
        """Until one of the wake-ups comes, at most so long. A time-out of 0 would mean for ever."""
        with self._connection.errors():
            self._connection.client.blpop(wakeup_keys, timeout=max(0.001, min(seconds, self._connection.max_block)))

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        lost: list[str] = []
        for portion in _portions(receipts):
            moment, gone = self._run(scripts.RENEW, _milliseconds(self.settings.lease), *portion)
            self._clock.renewal_answered(moment)
            lost += map(_text, gone)
        return lost

    def acknowledge(self, receipts: Sequence[str]) -> None:
        for portion in _portions(receipts):
            self._run(scripts.ACKNOWLEDGE, *portion)

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        self._release([delivery.receipt for delivery in deliveries], delay, refund_attempt=refund_attempt)

    def _release(self, receipts: Sequence[str], delay: float = 0.0, *, refund_attempt: bool) -> None:
        # The last portion first, because each goes in front of what is there.
        for portion in reversed(list(_portions(receipts))):
            self._run(scripts.RELEASE, _milliseconds(delay), int(not refund_attempt), *portion)

    def peek(self, limit: int = 100) -> Sequence[QueuedMessage]:
        ready, delayed, lent = self._run(scripts.PEEK, limit)
        waiting = [_waiting(entry, None) for entry in ready]
        parked = [_waiting(DELAYED_HEAD.sub(b"", member, count=1), float(due)) for member, due in _pairs(delayed)]
        parked += [_waiting(entry, float(due), leased=True) for entry, due in _pairs(lent)]
        return [*waiting, *sorted(parked, key=lambda each: each.due or 0.0)][:limit]

    def cancel(self, keys: Sequence[str]) -> int:
        return sum(int(self._run(scripts.CANCEL, *portion)) for portion in _portions(keys))

    def size(self) -> QueueSize:
        ready, delayed, leased = self._run(scripts.SIZE)
        return QueueSize(ready=ready, delayed=delayed, leased=leased)

    def queue_names(self) -> Sequence[str]:
        """From the names of the keys: as many of them as ``MAX_SCAN_CALLS`` calls read. A Redis Cluster lists none."""
        before, after = f"{{django_cluster:{join_escaped(self.settings.name, '', reserved=BRACES)}", "}"
        names, cursor = {self.queue: None}, 0
        for _ in range(0 if self._connection.clustered else MAX_SCAN_CALLS):
            with self._connection.errors():
                cursor, keys = self._connection.client.scan(cursor, match=f"{_literal(before)}*", count=1000)
            parts = (key.decode("utf-8", "replace").removeprefix(before).partition(after) for key in keys)
            names.update(dict.fromkeys(unquote(name) for name, end, _ in parts if end))
            if not cursor or len(names) >= MAX_QUEUE_NAMES:
                break
        return list(names)[:MAX_QUEUE_NAMES]

    def purge(self) -> int:
        return int(self._run(scripts.PURGE))

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
        """What the script answers; ``first`` is a command that is sent and answered before it.

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
            ("EVAL", scripts.RENAME_FOREIGN_KEYS.text, len(self._keys), *self._keys), key=self._keys[0]
        )[-1]
        if names := ", ".join(map(_text, answer)):
            FOREIGN_KEYS_RENAMED.log(queue=self.queue, value=names)


def configuration_warnings(configuration: Mapping[str, str]) -> list[str]:
    """What a server with this configuration may do to a queue; nothing, if it does not tell (an ACL may forbid it)."""
    found = []
    policy = configuration.get("maxmemory-policy", "noeviction")
    if policy != "noeviction" and configuration.get("maxmemory", "0") != "0":
        found.append(f"Redis deletes messages when its memory is full (maxmemory-policy {policy}); choose noeviction.")
    if configuration.get("appendonly") == "no" and not configuration.get("save"):
        found.append("Redis keeps nothing on disk (appendonly no, save empty): a restart forgets every message.")
    return found


def enqueue_calls(messages: Sequence[Message]) -> Iterator[list[str]]:
    """The arguments of ``ENQUEUE`` for these messages: one call a priority, one for the delayed, in portions."""
    if len(messages) == 1 and messages[0].not_before is None:  # what a view sends
        message = messages[0]
        yield [str(message.priority), f"{message.priority}:{message.attempts}:{message.payload}"]
        return
    moment = time.time()
    groups: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for message in messages:
        entry = f"{message.priority}:{message.attempts}:{message.payload}"
        due = message.not_before if message.not_before is not None and message.not_before > moment else None
        head = "" if due is not None else str(message.priority)
        call = groups.get(head)
        if call and (len(call) > MAX_CALL_MESSAGES or sizes[head] + len(entry) > MAX_CALL_CHARACTERS):
            yield call
            call = None
        if call is None:
            call, sizes[head] = [head], 0
            groups[head] = call
        call += [entry] if due is None else [str(math.ceil(due * 1000)), entry]
        sizes[head] += len(entry)
    yield from groups.values()


def unique_calls(messages: Sequence[Message], names: Sequence[str]) -> Iterator[list[str]]:
    """The arguments of ``ENQUEUE_ONCE`` for these messages, in portions."""
    moment, call, size = time.time(), list[str](), 0
    for message, name in zip(messages, names, strict=True):
        entry = f"{message.priority}:0:{message.payload}"
        if call and (len(call) >= 4 * MAX_CALL_MESSAGES or size + len(entry) > MAX_CALL_CHARACTERS):
            yield call
            call, size = [], 0
        late = message.not_before is not None and message.not_before > moment
        due = str(math.ceil((message.not_before or 0) * 1000)) if late else ""
        call += [name, str(message.priority), due, entry]
        size += len(entry)
    if call:
        yield call


def _portions(receipts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Each receipt once, as many as a script takes."""
    unique = list(dict.fromkeys(receipts))
    return (unique[start : start + MAX_CALL_MESSAGES] for start in range(0, len(unique), MAX_CALL_MESSAGES))


def _receipt(prefix: str, place: int) -> str:
    """As ``LEASE`` writes it."""
    return f"{prefix}:{place:04d}"


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _waiting(entry: bytes, due: float | None, *, leased: bool = False) -> QueuedMessage:
    priority, attempts, payload = parse_entry(entry)
    return QueuedMessage(payload, priority, attempts + leased, None if due is None else due / 1000, leased, _key(entry))


def _literal(text: str) -> str:
    """For a pattern of Redis, in which some characters mean something."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def _key(entry: bytes) -> str:
    """The fingerprint of the payload, which stays the same whatever else happens to the message."""
    head = ENTRY_HEAD.match(entry)
    return hashlib.sha1(entry[head.end() if head else 0 :], usedforsecurity=False).hexdigest()


def parse_entry(entry: bytes) -> tuple[int, int, str]:
    """Priority, earlier attempts and payload. What is not an entry is all payload."""
    head = ENTRY_HEAD.match(entry)
    if head is None:
        return 0, 0, _text(entry)
    return int(head[1]), int(head[2]), _text(entry[head.end() :])


def _text(raw: bytes) -> str:
    """Payloads are ASCII; other bytes are shown, so that a person can see what somebody put there."""
    return raw.decode("ascii", "backslashreplace")
