"""What one connection to RabbitMQ holds, and for whom: plain bookkeeping, no socket and no clock of its own.

A message that is not acknowledged goes back to the queue when its connection ends, and comes again, to us or to
others, marked as *redelivered*. Nobody knows whether it still runs somewhere: under a worker whose pusher has died,
or here, when only the connection was lost. So what is redelivered is not lent at once. It waits for as long as a
lease lasts, and whoever still holds its receipt claims it meanwhile: by renewing, acknowledging or giving it back.
"""

from __future__ import annotations

import heapq
import re
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

MESSAGE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
RECEIPT = re.compile(r"([0-9a-f]{32}):([0-9]{1,9})", re.ASCII)
MEMORY = 20_000
"""Fates that are remembered of messages that are not here (any more)."""


@dataclass(slots=True, eq=False)
class Arrived:
    """A message as the server gave it, unacknowledged."""

    id: str
    payload: str = field(repr=False)
    earlier: int
    """Attempts before this delivery."""
    not_before: float
    tag: int
    redelivered: bool = False
    named: bool = False
    """Its sender may have sent it twice, under this id."""


@dataclass(slots=True, eq=False)
class Held:
    """A message that is lent. ``tag`` is None while its connection is lost and it has not come again."""

    message: Arrived
    receipt: str
    attempt: int
    until: float
    tag: int | None


class Fate(NamedTuple):
    """What is to become of a message when it comes (again)."""

    forget: bool
    """It is done; otherwise it is to be sent again, as follows."""
    earlier: int = 0
    not_before: float = 0.0


FORGET = Fate(True)


class Verdict(Enum):
    """What is to be done about a message that has arrived."""

    LEND = auto()
    KEEP = auto()
    """It is held, or waits for its time."""
    FORGET = auto()
    """It is done, or a copy of what is held: acknowledge it."""
    DROP = auto()
    """Another of its id waits here: acknowledge this one, and no more."""
    SEND_AGAIN = auto()


def message_of(receipt: str) -> tuple[str, int] | None:
    """(id of the message, attempt) that a receipt of ours names."""
    found = RECEIPT.fullmatch(receipt)
    return (found[1], int(found[2])) if found else None


@dataclass(slots=True)
class Holding:
    """``now`` is monotonic in leases, and Unix time in ``not_before``; both are given by the caller."""

    lease: float
    ready: deque[Arrived] = field(default_factory=deque)
    """To be lent next."""
    held: dict[str, Held] = field(default_factory=dict)
    parked: dict[str, Arrived] = field(default_factory=dict)
    """Redelivered, or too early by a moment."""
    _due: list[tuple[float, str]] = field(default_factory=list)
    _claims: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Message → the receipt under which somebody holds it, as a predecessor has lent it."""
    _fates: OrderedDict[str, Fate] = field(default_factory=OrderedDict)
    _owed: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """Message whose acknowledgement the server may lack → the monotonic moment until which it may come again."""
    _unlent: set[str] = field(default_factory=set)
    """Messages that a lost connection had brought, and that nobody had been lent."""

    # ── coming ───────────────────────────────────────────────────────────────────────────────────

    def arrive(self, message: Arrived, now: float, clock: float) -> tuple[Verdict, Fate | None]:
        """``now``: monotonic; ``clock``: Unix time."""
        self._owed.pop(message.id, None)
        if fate := self._fates.get(message.id):
            return (Verdict.FORGET if fate.forget else Verdict.SEND_AGAIN), fate
        if held := self.held.get(message.id):
            if held.tag is not None:
                return Verdict.FORGET, None
            held.tag = message.tag
            return Verdict.KEEP, None
        if receipt := self._claims.pop(message.id, None):
            self._hold(message, receipt, now)
            return Verdict.KEEP, None
        if message.id in self.parked or (message.named and any(each.id == message.id for each in self.ready)):
            return Verdict.DROP, None
        unlent = message.id in self._unlent
        self._unlent.discard(message.id)
        wait = max(self.lease if message.redelivered and not unlent else 0.0, message.not_before - clock)
        if wait > 0:
            self.parked[message.id] = message
            heapq.heappush(self._due, (now + wait, message.id))
            return Verdict.KEEP, None
        self.ready.append(message)
        return Verdict.LEND, None

    def promote(self, now: float) -> None:
        """What has waited long enough becomes ready."""
        while self._due and self._due[0][0] <= now:
            message = self.parked.pop(heapq.heappop(self._due)[1], None)
            if message is not None:
                self.ready.append(message)

    def next_due(self) -> float:
        """The monotonic moment at which something becomes ready."""
        return self._due[0][0] if self._due else float("inf")

    def lend(self, limit: int, now: float) -> Iterator[Held]:
        while limit > 0 and self.ready:
            limit -= 1
            message = self.ready.popleft()
            yield self._hold(message, f"{message.id}:{message.earlier + 1}", now)

    def _hold(self, message: Arrived, receipt: str, now: float) -> Held:
        known = message_of(receipt)
        attempt = known[1] if known else message.earlier + 1
        held = Held(message, receipt, attempt, now + self.lease, message.tag)
        self.held[message.id] = held
        return held

    # ── keeping ──────────────────────────────────────────────────────────────────────────────────

    def renew(self, receipt: str, now: float) -> bool:
        """Whether the message is still ours, as far as anybody can know here."""
        known = message_of(receipt)
        if known is None or known[0] in self._fates:
            return False
        if held := self.held.get(known[0]):
            if held.receipt != receipt:
                return False
            held.until = now + self.lease
            return True
        if message := self.parked.pop(known[0], None):
            self._hold(message, receipt, now)
            return True
        # A predecessor has lent it: it will come again, if it has not gone to others.
        self._remember(self._claims, known[0], receipt)
        return True

    def expired(self, now: float) -> list[Held]:
        """Lent, and not renewed in time."""
        return [held for held in self.held.values() if held.until <= now and held.tag is not None]

    # ── going ────────────────────────────────────────────────────────────────────────────────────

    def take(self, receipt: str) -> Held | None:
        """The message that is lent under this receipt, if it is here. It stays until ``forget``."""
        known = message_of(receipt)
        if known is None:
            return None
        if known[0] in self.parked:
            self.renew(receipt, 0.0)
        held = self.held.get(known[0])
        return held if held is not None and held.receipt == receipt else None

    def decide(self, receipt: str, fate: Fate, now: float) -> None:
        """What is to become of a message that is lent under this receipt, and is not here now."""
        known = message_of(receipt)
        if known is None or known[0] in self._fates:
            return
        held = self.held.get(known[0])
        if held is None or held.receipt == receipt:
            self._settle(known[0], fate)
            if fate.forget:
                self.owe(known[0], now)

    def owe(self, message_id: str, now: float) -> None:
        """It is done, and its connection was lost before the server was known to have heard of it."""
        self._remember(self._owed, message_id, now + 2 * self.lease)

    def owed(self, now: float) -> int:
        """How many of these have not come again. After two leases the server has noticed that their connection was
        lost, and whatever it had kept has been lent to others."""
        while self._owed and next(iter(self._owed.values())) <= now:
            self._owed.popitem(last=False)
        return len(self._owed)

    def forget(self, message_id: str) -> None:
        """It is acknowledged. Should that get lost with the connection, it is acknowledged again."""
        self._settle(message_id, FORGET)

    def _settle(self, message_id: str, fate: Fate) -> None:
        self.held.pop(message_id, None)
        self.parked.pop(message_id, None)
        self._claims.pop(message_id, None)
        self._remember(self._fates, message_id, fate)

    @staticmethod
    def _remember(where: OrderedDict[str, Any], message_id: str, what: object) -> None:
        where[message_id] = what
        where.move_to_end(message_id)
        if len(where) > MEMORY:
            where.popitem(last=False)

    def connection_lost(self) -> None:
        """All that is not acknowledged will come again, under another tag."""
        self._unlent = {message.id for message in self.ready}
        self._unlent.update(message.id for message in self.parked.values() if not message.redelivered)
        self.ready.clear()
        self.parked.clear()
        self._due.clear()
        for held in self.held.values():
            held.tag = None
