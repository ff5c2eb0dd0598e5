"""The reservations of one broker at IronMQ: bookkeeping without a network and without a clock.

Renewing a reservation gives it a new id, so only the process that renewed it can end it. The receipt that the rest of
the cluster knows stays the same: this is the table in between.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

RECEIPT = re.compile(r"([0-9A-Za-z_-]{1,80}):([^:\s]{1,200})", re.ASCII)
MAX_REMEMBERED = 20_000
"""Receipts and messages that are remembered after their end."""


@dataclass(slots=True)
class Reservation:
    receipt: str
    reservation: str
    until: float
    """Monotonic; before IronMQ's own end of it."""
    count: int = 0
    """How often IronMQ had leased it, this time included; 0 where it did not say."""


@dataclass(slots=True)
class Reservations:
    held: dict[str, Reservation] = field(default_factory=dict)
    """By the id of the message."""
    _claims: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Message → receipt of a lease by an earlier pusher under which a process of this cluster still runs it."""
    _done: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Messages whose work is done, and that could not be deleted: their reservation has ended or has another name."""
    _ended: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Receipts that mean nothing any more."""

    def came(self, message: str, reservation: str, until: float, now: float, count: int = 0) -> Reservation | None:
        """A message was reserved. Returns its reservation; it is leased if its receipt is new.

        None: its task is done, and the message is to be deleted.
        """
        if message in self._done:
            return None
        held = self.held.get(message)
        claim = self._claims.pop(message, None)
        if held is not None and held.until > now:
            claim = held.receipt
        self.held[message] = found = Reservation(claim or f"{message}:{reservation}", reservation, until, count)
        return found

    def find(self, receipt: str) -> tuple[str, Reservation | None] | None:
        """(message, what is held of it); None for a receipt that means nothing (any more)."""
        named = RECEIPT.fullmatch(receipt)
        if named is None or receipt in self._ended:
            return None
        held = self.held.get(named[1])
        if held is not None and held.receipt != receipt:
            return None
        return named[1], held

    def claim(self, receipt: str) -> None:
        """Remember that the reservation of this receipt is unknown: when its message is delivered again, it keeps the
        receipt."""
        self.held.pop(_named(receipt)[0], None)
        _remember(self._claims, _named(receipt)[0], receipt)

    def hold(self, receipt: str, reservation: str, until: float) -> None:
        message = _named(receipt)[0]
        before = self.held.get(message)
        self.held[message] = Reservation(receipt, reservation, until, before.count if before else 0)

    def end(self, receipt: str) -> None:
        """The lease has ended: acknowledged, released or lost."""
        message = _named(receipt)[0]
        held = self.held.get(message)
        if held is not None and held.receipt == receipt:
            del self.held[message]
        self._claims.pop(message, None)
        _remember(self._ended, receipt, None)

    def done(self, receipt: str) -> None:
        """Remember that the message is to be deleted when it is delivered again."""
        _remember(self._done, _named(receipt)[0], None)

    def reservation(self, receipt: str) -> str:
        """Under which it is reserved, as far as is known here."""
        message, first = _named(receipt)
        held = self.held.get(message)
        return held.reservation if held is not None and held.receipt == receipt else first


def _named(receipt: str) -> tuple[str, str]:
    """(message, its first reservation) of a receipt that is one."""
    message, _, reservation = receipt.partition(":")
    return message, reservation


def _remember(where: OrderedDict[str, Any], key: str, value: Any) -> None:
    where[key] = value
    where.move_to_end(key)
    if len(where) > MAX_REMEMBERED:
        where.popitem(last=False)
