"""Guards against calls to Redis that arrive twice or late: numbers of senders, and the server's clock."""

from __future__ import annotations

import math
import os
import time
from collections import deque


class NumberedSender:
    """A name under which calls are numbered; for one thread at a time."""

    __slots__ = ("_last", "name", "pid")

    def __init__(self) -> None:
        self.name, self.pid = os.urandom(8).hex(), os.getpid()
        self._last = 0

    def next_number(self) -> int:
        """Number of the next call: greater than those before it."""
        self._last += 1
        return self._last


class SenderPool:
    """The senders of one process that no thread uses at the moment.

    The server remembers the number of the last call of each sender, and carries out no call whose number is not
    greater. Each call, with its repetitions, has a sender to itself: there are as many as threads have sent at once,
    however many threads come and go, and the memory of the server is bounded by that.
    """

    def __init__(self) -> None:
        self._free: deque[NumberedSender] = deque()

    def take(self) -> NumberedSender:
        """A sender that no other thread has, and no other process: a forked child makes its own."""
        try:
            sender = self._free.pop()
        except IndexError:
            return NumberedSender()
        return sender if sender.pid == os.getpid() else NumberedSender()

    def put_back(self, sender: NumberedSender) -> None:
        """After the call and all of its repetitions."""
        self._free.append(sender)


class RedisClock:
    """Relates ``time.monotonic()`` of this process to the clock of the server, as late as it may be wrong.

    It learns from answers, which say what time it was at the server. An answer has been on its way: the moments that
    are calculated for the server are never later than meant. Between two renewals the server's clock may be set, and a
    later relation would move the moment of a claim beyond the leases that it protects; so until the next renewal
    only an earlier one is believed.
    """

    def __init__(self) -> None:
        self._ahead = math.inf
        """Milliseconds of the server's clock minus those of ours; infinity = not known."""
        self._refused_until = -math.inf

    @property
    def known(self) -> bool:
        return self._ahead < math.inf

    def to_server_ms(self, moment: float) -> str:
        """This moment of our clock on that of the server, in milliseconds, for the script; empty = any."""
        if moment == math.inf:
            return ""
        return "0" if moment == -math.inf else str(math.floor(moment * 1000 + self._ahead))

    def claim_answered(self, moment: int) -> None:
        """A claim was carried out at this moment (milliseconds of the server's clock)."""
        self._ahead = min(self._ahead, moment - time.monotonic() * 1000)

    def renewal_answered(self, moment: int) -> None:
        """Leases were renewed at this moment (milliseconds of the server's clock)."""
        self._ahead = moment - time.monotonic() * 1000

    def claim_refused(self, moment: int, not_after: float) -> None:
        """A claim arrived at this moment (milliseconds of the server's clock), and that was too late.

        Who claims must renew first: until it names a later ``not_after``, nothing is claimed.
        """
        self._ahead = moment - time.monotonic() * 1000
        self._refused_until = max(self._refused_until, not_after)

    def is_refused(self, not_after: float) -> bool:
        """Whether a claim with this last moment has been refused."""
        return not_after <= self._refused_until
