"""The monitor: records outcomes, acknowledges their messages, and answers with ``Recorded``.

The outcome that a worker itself has sent precedes the report about its loss: ``WorkerLost`` is processed only when the
connection of the dead worker has been read to its end.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.cluster.ipc.process_row import ProcessState
from django_cluster.cluster.ipc.protocol import (
    Goodbye,
    Hello,
    Notified,
    NotifierHello,
    Outcomes,
    Recorded,
    Stopping,
    WorkerLost,
)
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.server import ClientConnection, IpcServer, Received
from django_cluster.cluster.ipc.words import STATE
from django_cluster.cluster.roles.heartbeat import HeartbeatPublisher
from django_cluster.cluster.roles.idleness import IdleReporter
from django_cluster.cluster.roles.notifications import Notifications
from django_cluster.core.backoff import ReconnectBackoff
from django_cluster.core.events.servers import RECORDING
from django_cluster.core.messages import Outcome
from django_cluster.errors import BrokerError, StoreUnavailable
from django_cluster.lifecycle.recorder import Recorder

MAX_WAIT_SECONDS = 0.5
"""Seconds that one turn of the loop waits at most."""
MAX_BATCH = 512
"""Most outcomes that are recorded together."""
PRUNE_SECONDS = 10.0
"""Seconds between two prunings after something was recorded."""
IDLE_PRUNE_SECONDS = 600.0
"""Seconds between two prunings when nothing was recorded: rows grow old nevertheless."""
MAX_NUMBERS_PER_WORKER = 1 << 14
"""Job numbers that are remembered of each worker; more than it has unrecorded outcomes."""
MAX_DISCONNECTED_WORKERS = 64
"""Workers that are remembered after their connection has ended. ``WorkerLost`` comes within seconds, if at all."""


@dataclass(slots=True)
class RecordingQueue:
    """Outcomes from the queues of one server, recorded in their order: it is unavailable for all or none."""

    backoff: ReconnectBackoff
    pending: deque[tuple[ClientConnection, Outcome]] = field(default_factory=deque)


class WorkerRegistry:
    """Which outcomes each worker has sent, as long as ``WorkerLost`` may still come."""

    def __init__(self) -> None:
        self._connected: dict[ClientConnection, int] = {}
        self._seen: dict[int, deque[int]] = {}
        self._disconnected: deque[int] = deque()

    def connect(self, connection: ClientConnection, incarnation: int) -> None:
        self._connected[connection] = incarnation
        self._seen.setdefault(incarnation, deque(maxlen=MAX_NUMBERS_PER_WORKER))

    def note(self, connection: ClientConnection, number: int) -> None:
        self._seen[self._connected[connection]].append(number)

    def disconnect(self, connection: ClientConnection) -> None:
        incarnation = self._connected.pop(connection, None)
        if incarnation is not None:
            self._disconnected.append(incarnation)
        while len(self._disconnected) > MAX_DISCONNECTED_WORKERS:
            oldest = self._disconnected.popleft()
            if not self.is_connected(oldest):  # otherwise it has connected again
                self._seen.pop(oldest, None)

    def of(self, incarnations: Collection[int]) -> list[ClientConnection]:
        """The connections of these incarnations."""
        return [connection for connection, incarnation in self._connected.items() if incarnation in incarnations]

    def is_connected(self, incarnation: int) -> bool:
        return incarnation in self._connected.values()

    def pop_numbers(self, incarnation: int) -> set[int]:
        """The numbers of all outcomes that a dead incarnation has sent, which are forgotten."""
        return set(self._seen.pop(incarnation, ()))


class Monitor:
    """Records outcomes in batches: what has arrived is one transaction, one acknowledgement, one answer."""

    def __init__(
        self,
        incarnation: Incarnation,
        board: Scoreboard,
        control: ControlPipe,
        recorder: Recorder,
        *,
        notifications: Notifications,
        prune: Callable[[], None],
        heartbeat: HeartbeatPublisher | None = None,
        servers: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``notifications``: is given what was recorded. ``prune``: called every ``PRUNE_SECONDS``.

        ``servers``: queue → number of its server, from 0; None: there is one server.
        """
        self._incarnation, self._board, self._control = incarnation, board, control
        self._recorder, self._clock = recorder, clock
        self._notifications, self._prune = notifications, prune
        self._heartbeat = heartbeat
        self._server = IpcServer(incarnation.runtime_dir.monitor_socket)
        self._server.add_wakeup(control.fileno())
        self._idle = IdleReporter(board, incarnation.row, clock)
        self._registry = WorkerRegistry()
        self._servers = servers or {}
        number = max(self._servers.values(), default=0) + 1
        self._queues = [
            RecordingQueue(ReconnectBackoff("Result store or broker", clock, RECORDING)) for _ in range(number)
        ]
        self._loss_reports: list[tuple[ClientConnection, int, list[Outcome], bool]] = []
        self._stopping: list[ClientConnection] = []
        self._close_ended_at = 0.0
        self._prune_at, self._idle_prune_at = clock() + PRUNE_SECONDS, clock() + IDLE_PRUNE_SECONDS
        self._unpruned = True  # the last monitor may have recorded something

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Run until a stop is requested and the last connection has closed."""
        self._board.set(self._incarnation.row, STATE, ProcessState.IDLE)
        while not self.finished:
            self.tick()
            if self._heartbeat is not None:
                self._heartbeat.beat(self._pending)
        self._board.set(self._incarnation.row, STATE, ProcessState.STOPPING)
        if self._heartbeat is not None:
            self._heartbeat.stop(lost=self._control.orphaned)
        self._server.close()

    @property
    def finished(self) -> bool:
        if self._clients or self._pending or self._loss_reports or not self._control.stop_requested:
            return False
        return self._control.orphaned or self._notifications.finished()

    @property
    def _clients(self) -> set[ClientConnection]:
        """The connections over which outcomes may come: all but that of the notifier."""
        return self._server.connections - self._notifications.connections

    @property
    def _pending(self) -> int:
        """How many outcomes wait to be recorded."""
        return sum(len(queue.pending) for queue in self._queues)

    def tick(self) -> None:
        """One turn: receive messages, record what has arrived, prune when it is due."""
        self._board.report_alive(self._incarnation.row)
        for received in self._server.poll(self._pause()):
            self._handle(received)
        self._close_ended()
        self._process_loss_reports()
        if self._idle.wanted and self._has_work:
            self._idle.note(idle=False)  # before the pusher hears that something is recorded
        for queue in self._queues:
            if queue.pending and queue.backoff.due and not self._notifications.throttled():
                self._record(queue)
        if self._clock() >= (self._prune_at if self._unpruned else self._idle_prune_at):
            self._prune_now()
        if self._stopping:
            self._send_goodbye()
        if self._idle.wanted:
            self._idle.note(idle=not self._has_work)

    @property
    def _has_work(self) -> bool:
        """Whether anything is to be recorded or called."""
        return bool(self._pending or self._loss_reports or self._notifications.left)

    def _pause(self) -> float:
        if self._loss_reports or self._notifications.full:
            return 0.01
        until = min((queue.backoff.retry_at for queue in self._queues if queue.pending), default=None)
        return MAX_WAIT_SECONDS if until is None else min(MAX_WAIT_SECONDS, max(0.0, until - self._clock()))

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────

    def _handle(self, received: Received) -> None:
        for message in received.messages:
            match message:
                case Outcomes(outcomes):
                    self._note_outcomes(received.connection, outcomes)
                case Hello(incarnation):
                    self._registry.connect(received.connection, incarnation)
                case WorkerLost(incarnation, outcomes):
                    self._loss_reports.append((received.connection, incarnation, outcomes, False))
                case Stopping():
                    self._stopping.append(received.connection)
                case NotifierHello(incarnation, row, begun):
                    self._notifications.attach(received.connection, incarnation, row, begun)
                case Notified(number):
                    self._notifications.done(number)
        if received.ended:
            self._registry.disconnect(received.connection)
            self._notifications.detach(received.connection)

    def _close_ended(self) -> None:
        """Close the connections of workers that have exited: programs of their tasks may keep them open."""
        if not self._loss_reports and self._clock() < self._close_ended_at:
            return
        self._close_ended_at = self._clock() + MAX_WAIT_SECONDS
        for connection in self._registry.of(self._board.ended_incarnations()):
            self._handle(self._server.drain(connection))

    def _note_outcomes(self, connection: ClientConnection, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._registry.note(connection, outcome.number)
            self._queue_of(outcome).pending.append((connection, outcome))

    def _queue_of(self, outcome: Outcome) -> RecordingQueue:
        return self._queues[self._servers.get(outcome.queue, 0)]

    def _process_loss_reports(self) -> None:
        """Record what a dead worker had begun, one turn after its connection has ended.

        What it sent last, also over a connection that was not accepted yet, has been received by then.
        """
        waiting = []
        for connection, incarnation, outcomes, seen_once in self._loss_reports:
            if self._registry.is_connected(incarnation) or not seen_once:
                waiting.append((connection, incarnation, outcomes, not self._registry.is_connected(incarnation)))
                continue
            seen = self._registry.pop_numbers(incarnation)
            known = [outcome.number for outcome in outcomes if outcome.number in seen]
            for outcome in outcomes:
                if outcome.number not in seen:
                    self._queue_of(outcome).pending.append((connection, outcome))
            if known:
                connection.send(Recorded(known))
        self._loss_reports = waiting

    def _send_goodbye(self) -> None:
        """Let a waiting pusher exit when all other processes are gone and everything is recorded."""
        if not (self._pending or self._loss_reports or self._clients.difference(self._stopping)):
            for connection in self._stopping:
                connection.send(Goodbye())
            self._stopping = []

    # ── filing ───────────────────────────────────────────────────────────────────────────────────

    def _record(self, queue: RecordingQueue) -> None:
        """Record one batch. What cannot be recorded now stays, in its order."""
        batch = [queue.pending.popleft() for _ in range(min(MAX_BATCH, len(queue.pending)))]
        started = self._clock()
        try:
            saved = self._recorder.record([outcome for _, outcome in batch])
        except (StoreUnavailable, BrokerError) as error:
            queue.pending.extendleft(reversed(batch))
            queue.backoff.failed(error, self._clock() - started if len(self._queues) > 1 else 0.0)
            return
        queue.backoff.recovered()
        answers: dict[ClientConnection, list[int]] = {}
        for connection, outcome in batch:
            answers.setdefault(connection, []).append(outcome.number)
        for connection, numbers in answers.items():
            connection.send(Recorded(numbers))
        self._unpruned = True
        if self._heartbeat is not None:
            self._heartbeat.count(saved)
        self._notifications.add(saved)

    def _prune_now(self) -> None:
        self._prune_at, self._idle_prune_at = self._clock() + PRUNE_SECONDS, self._clock() + IDLE_PRUNE_SECONDS
        self._unpruned = False
        try:
            self._prune()
        except (StoreUnavailable, BrokerError) as error:
            self._unpruned = True
            self._queues[0].backoff.failed(error)
