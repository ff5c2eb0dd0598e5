"""The monitor: outcomes → rows, acknowledgements, *filed*.

It believes a worker's own outcome before anybody's report about that worker: an obituary is looked at only
when the dead worker's line has been read to its end.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from django_cluster.brokers.several import place_of
from django_cluster.cluster.notifications import Notifications
from django_cluster.cluster.pulse import Pulse
from django_cluster.cluster.scoreboard import STATE, Scoreboard, State
from django_cluster.cluster.seat import Orders, Seat
from django_cluster.cluster.until_empty import IdleNote
from django_cluster.cluster.wire import Heard, Hub, Peer
from django_cluster.core.messages import Outcome
from django_cluster.core.outage import Outage
from django_cluster.errors import BrokerError, StoreUnavailable
from django_cluster.lifecycle.record import Recorder

logger = logging.getLogger("django_cluster")

PAUSE = 0.5
"""Seconds of the longest sleep between two looks around."""
MAX_BATCH = 512
"""Outcomes that are filed together."""
PRUNE_EVERY = 10.0
"""Seconds between two looks for rows that need not be kept."""
PRUNE_ANYWAY = 600.0
"""The same where nothing new has come: rows grow old all the same."""
MAX_SEEN = 1 << 14
"""Job numbers remembered of one worker; it never holds as many unfiled outcomes as that."""
MAX_DEPARTED = 64
"""Workers remembered after their line has ended. An obituary comes within seconds, if at all."""


@dataclass(slots=True)
class Lane:
    """Outcomes that are filed together, in their order: the server that lent them is away for all or none."""

    outage: Outage
    pending: deque[tuple[Peer, Outcome]] = field(default_factory=deque)


class Attendance:
    """Which outcomes each worker has sent, as long as somebody may still ask."""

    def __init__(self) -> None:
        self._present: dict[Peer, int] = {}
        self._seen: dict[int, deque[int]] = {}
        self._departed: deque[int] = deque()

    def enter(self, peer: Peer, seat: int) -> None:
        self._present[peer] = seat
        self._seen.setdefault(seat, deque(maxlen=MAX_SEEN))

    def note(self, peer: Peer, number: int) -> None:
        self._seen[self._present[peer]].append(number)

    def leave(self, peer: Peer) -> None:
        seat = self._present.pop(peer, None)
        if seat is not None:
            self._departed.append(seat)
        while len(self._departed) > MAX_DEPARTED:
            oldest = self._departed.popleft()
            if not self.is_here(oldest):  # else only its line had broken
                self._seen.pop(oldest, None)

    def of(self, seats: Collection[int]) -> list[Peer]:
        """The lines of these."""
        return [peer for peer, seat in self._present.items() if seat in seats]

    def is_here(self, seat: int) -> bool:
        return seat in self._present.values()

    def take_seen(self, seat: int) -> set[int]:
        """The numbers that this seat has sent; it is dead, nobody will ask again."""
        return set(self._seen.pop(seat, ()))


class Monitor:
    """Files outcomes in batches: whatever has arrived is one transaction, one acknowledgement, one answer."""

    def __init__(
        self,
        seat: Seat,
        board: Scoreboard,
        orders: Orders,
        recorder: Recorder,
        *,
        notifications: Notifications,
        prune: Callable[[], None],
        pulse: Pulse | None = None,
        servers: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``notifications``: given what has been recorded. ``prune``: called now and then.

        ``servers``: the number of the server of each queue, where a cluster works on several.
        """
        self._seat, self._board, self._orders = seat, board, orders
        self._recorder, self._clock = recorder, clock
        self._notifications, self._prune = notifications, prune
        self._pulse = pulse
        self._hub = Hub(seat.folder.reports)
        self._hub.also_wake_for(orders.fileno())
        self._idle = IdleNote(board, seat.row, clock)
        self._attendance = Attendance()
        self._servers = servers
        number = max(servers, default=0) + 1
        self._lanes = [Lane(Outage("The result store or the broker", clock)) for _ in range(number)]
        self._obituaries: list[tuple[Peer, int, list[Outcome], bool]] = []
        self._leaving: list[Peer] = []
        self._attend_at = 0.0
        self._prune_at, self._prune_anyway_at = clock() + PRUNE_EVERY, clock() + PRUNE_ANYWAY
        self._unpruned = True  # whoever was here before may have left something undone

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Until told to leave and the last line has closed."""
        self._board.set(self._seat.row, STATE, State.IDLE)
        while not self.gone:
            self.tick()
            if self._pulse is not None:
                self._pulse.beat(self._pending)
        self._board.set(self._seat.row, STATE, State.LEAVING)
        if self._pulse is not None:
            self._pulse.stop(lost=self._orders.orphaned)
        self._hub.close()

    @property
    def gone(self) -> bool:
        if self._callers or self._pending or self._obituaries or not self._orders.leave:
            return False
        return self._orders.orphaned or self._notifications.finished()

    @property
    def _callers(self) -> set[Peer]:
        """Who may still have something to be recorded: everybody but the notifier."""
        return self._hub.peers - self._notifications.peers

    @property
    def _pending(self) -> int:
        """How many outcomes are to be filed."""
        return sum(len(lane.pending) for lane in self._lanes)

    def tick(self) -> None:
        """One turn: hear everybody, file what there is, prune now and then."""
        self._board.tick(self._seat.row)
        for heard in self._hub.poll(self._pause()):
            self._hear(heard)
        self._attend()
        self._consider_obituaries()
        if self._idle.wanted and self._has_work:
            self._idle.note(idle=False)  # before the pusher hears that something is recorded
        for lane in self._lanes:
            if lane.pending and lane.outage.due and not self._notifications.holds_back():
                self._file(lane)
        if self._clock() >= (self._prune_at if self._unpruned else self._prune_anyway_at):
            self._prune_now()
        if self._leaving:
            self._say_farewell()
        if self._idle.wanted:
            self._idle.note(idle=not self._has_work)

    @property
    def _has_work(self) -> bool:
        """Whether anything is to be recorded or called."""
        return bool(self._pending or self._obituaries or self._notifications.left)

    def _pause(self) -> float:
        if self._obituaries or self._notifications.full:
            return 0.01
        until = min((lane.outage.retry_at for lane in self._lanes if lane.pending), default=None)
        return PAUSE if until is None else min(PAUSE, max(0.0, until - self._clock()))

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────

    def _hear(self, heard: Heard) -> None:
        for word, *values in heard.messages:
            if word == "hello":
                self._attendance.enter(heard.peer, values[0])
            elif word == "outcomes":
                self._note(heard.peer, values[-1])
            elif word == "leaving":
                self._leaving.append(heard.peer)
            elif word == "notifier":
                self._notifications.attach(heard.peer, *values)
            elif word == "done":
                self._notifications.done(values[0])
            elif word == "obituary":
                self._obituaries.append((heard.peer, values[0], _outcomes(values[1]), False))
        if heard.ended:
            self._attendance.leave(heard.peer)
            self._notifications.detach(heard.peer)

    def _attend(self) -> None:
        """End the lines of those whose end the sentinel has seen: what their tasks have started may keep them open."""
        if not self._obituaries and self._clock() < self._attend_at:
            return
        self._attend_at = self._clock() + PAUSE
        for peer in self._attendance.of(self._board.ended_seats()):
            self._hear(self._hub.finish(peer))

    def _note(self, peer: Peer, outcomes: Sequence[Any]) -> None:
        for outcome in _outcomes(outcomes):
            self._attendance.note(peer, outcome.number)
            self._lane_of(outcome).pending.append((peer, outcome))

    def _lane_of(self, outcome: Outcome) -> Lane:
        place = place_of(outcome.receipt, len(self._servers)) if self._servers else None
        return self._lanes[0 if place is None else self._servers[place]]

    def _consider_obituaries(self) -> None:
        """Believe a report about a dead worker when its line has ended, and one whole look later:
        what it sent last, or a call that nobody had answered yet, comes first."""
        waiting = []
        for peer, seat, outcomes, looked_once in self._obituaries:
            if self._attendance.is_here(seat) or not looked_once:
                waiting.append((peer, seat, outcomes, not self._attendance.is_here(seat)))
                continue
            seen = self._attendance.take_seen(seat)
            known = [outcome.number for outcome in outcomes if outcome.number in seen]
            for outcome in outcomes:
                if outcome.number not in seen:
                    self._lane_of(outcome).pending.append((peer, outcome))
            if known:
                peer.send(("filed", known))
        self._obituaries = waiting

    def _say_farewell(self) -> None:
        """To a pusher that waits for us, when everybody else has gone and everything is filed."""
        if not (self._pending or self._obituaries or self._callers.difference(self._leaving)):
            for peer in self._leaving:
                peer.send(("farewell",))
            self._leaving = []

    # ── filing ───────────────────────────────────────────────────────────────────────────────────

    def _file(self, lane: Lane) -> None:
        """Record one batch; what cannot be recorded now stays, in its order."""
        batch = [lane.pending.popleft() for _ in range(min(MAX_BATCH, len(lane.pending)))]
        started = self._clock()
        try:
            saved = self._recorder.record([outcome for _, outcome in batch])
        except (StoreUnavailable, BrokerError) as error:
            lane.pending.extendleft(reversed(batch))
            lane.outage.failed(error, self._clock() - started if len(self._lanes) > 1 else 0.0)
            return
        lane.outage.over()
        answers: dict[Peer, list[int]] = {}
        for peer, outcome in batch:
            answers.setdefault(peer, []).append(outcome.number)
        for peer, numbers in answers.items():
            peer.send(("filed", numbers))
        self._unpruned = True
        if self._pulse is not None:
            self._pulse.count(saved)
        self._notifications.add(saved)

    def _prune_now(self) -> None:
        self._prune_at, self._prune_anyway_at = self._clock() + PRUNE_EVERY, self._clock() + PRUNE_ANYWAY
        self._unpruned = False
        try:
            self._prune()
        except (StoreUnavailable, BrokerError) as error:
            self._unpruned = True
            self._lanes[0].outage.failed(error)


def _outcomes(values: Sequence[Any]) -> list[Outcome]:
    return [Outcome(*each) for each in values]
