"""The monitor over real lines: what it files, in which order, and whom it believes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import pytest

from django_cluster.brokers.messages import Delivery, Message
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole
from django_cluster.cluster.ipc.protocol import (
    Hello,
    Notified,
    NotifierHello,
    Notify,
    Outcomes,
    Recorded,
    Stop,
    WorkerLost,
)
from django_cluster.cluster.ipc.server import ClientConnection
from django_cluster.cluster.ipc.words import NOTIFIER_NEEDED
from django_cluster.cluster.roles import notifications
from django_cluster.cluster.roles.monitor import (
    IDLE_PRUNE_SECONDS,
    MAX_BATCH,
    MAX_DISCONNECTED_WORKERS,
    PRUNE_SECONDS,
    Monitor,
    WorkerRegistry,
)
from django_cluster.cluster.roles.notifications import Notifications
from django_cluster.core.messages import Outcome
from django_cluster.core.settings import DeliverySettings, ResultSettings
from django_cluster.errors import BrokerUnavailable, StoreUnavailable
from django_cluster.lifecycle.recorder import Recorder
from django_cluster.models import Task
from django_cluster.stores.orm import OrmResults
from tests.conftest import Clock
from tests.fields import fields
from tests.integration.cluster_harness import SETTINGS, ClusterHarness, MessageLog, PolledBroker, take_turns
from tests.integration.cluster_harness import broker as broker
from tests.integration.cluster_harness import harness as harness

pytestmark = pytest.mark.django_db

OpenMonitor = Callable[..., Monitor]


class Store(OrmResults):
    """The rows of the tests' database; away as long as the test says so. Counts how often it was asked to save."""

    away = False
    saves: int = 0

    def save(self, outcomes: Sequence[Outcome]) -> None:
        if self.away:
            raise StoreUnavailable("no server")
        self.saves += 1
        super().save(outcomes)


class FakeWorker:
    """A worker as the monitor sees it: a line, and the outcomes that it sends."""

    def __init__(self, harness: ClusterHarness, incarnation: Incarnation | None = None) -> None:
        self.incarnation = incarnation or harness.incarnation(ProcessRole.WORKER)
        self.line: IpcClient = harness.connect_to_monitor()
        self.log = MessageLog(self.line)
        self.line.send(Hello(self.incarnation.number))

    def send(self, *outcomes: Outcome) -> None:
        self.line.send(Outcomes(list(outcomes)))

    @property
    def filed(self) -> list[int]:
        return [number for message in self.log.of(Recorded) for number in message.numbers]


class FakePusher(FakeWorker):
    def report(self, incarnation: Incarnation, *outcomes: Outcome) -> None:
        self.line.send(WorkerLost(incarnation.number, list(outcomes)))


def outcome(number: int, receipt: str = "", status: str = "success", **options: Any) -> Outcome:
    return Outcome(
        number=number,
        receipt=receipt,
        attempt=1,
        id=f"{number:032x}",
        name=f"task {number}",
        func="a.b",
        options=options,
        enqueued_at=1.0,
        started_at=2.0,
        stopped_at=3.0,
        status=status,
        worker="worker 1",
        failure=None if status == "success" else ("ValueError", "no luck", ""),
    )


def lend(broker: PolledBroker, count: int) -> list[Delivery]:
    broker.enqueue([Message(str(number)) for number in range(count)])
    return list(broker.lease(count))


class FakeNotifier:
    """The notifier as the monitor sees it: it hears of outcomes, and says which it has called."""

    def __init__(self, harness: ClusterHarness, begun: int = 0) -> None:
        self.harness = harness
        self.incarnation = harness.incarnation(ProcessRole.NOTIFIER)
        self.line: IpcClient = harness.connect_to_monitor()
        self.log = MessageLog(self.line)
        self.line.send(NotifierHello(self.incarnation.number, self.incarnation.row, begun))

    def begin(self, number: int) -> None:
        self.harness.board.begin_job(self.incarnation.row, number, 1.0, 0.0)

    def finish(self, number: int) -> None:
        self.line.send(Notified(number))

    @property
    def received(self) -> list[tuple[int, int]]:
        """The number of each notification, and of its job."""
        return [
            (number, outcome.number)
            for message in self.log.of(Notify)
            for number, outcome in enumerate(message.outcomes, message.first)
        ]


@pytest.fixture
def store() -> Store:
    return Store(ResultSettings(save_limit=0))


@pytest.fixture
def open_monitor(harness: ClusterHarness, broker: PolledBroker, store: Store) -> Iterator[OpenMonitor]:
    opened: list[Monitor] = []

    def open_one(*, broker: PolledBroker = broker, **more: Any) -> Monitor:
        incarnation = harness.incarnation(ProcessRole.MONITOR)
        recorder = Recorder(store, broker, DeliverySettings(max_attempts=1))
        more = {"notifications": Notifications(harness.board), "prune": store.prune, **more}
        opened.append(Monitor(incarnation, harness.board, harness.control(incarnation), recorder, **more))
        return opened[-1]

    yield open_one
    for monitor in opened:
        monitor._server.close()


@pytest.fixture
def monitor(open_monitor: OpenMonitor) -> Monitor:
    return open_monitor()


# ── filing ───────────────────────────────────────────────────────────────────────────────────────


def test_an_outcome_becomes_a_row_is_acknowledged_and_then_answered(
    harness: ClusterHarness, monitor: Monitor, broker: PolledBroker
) -> None:
    (delivery,) = lend(broker, 1)
    worker = FakeWorker(harness)

    worker.send(outcome(1, delivery.receipt))
    take_turns(monitor.tick, until=lambda: worker.filed)

    assert worker.filed == [1]
    assert Task.objects.get().pk == f"{1:032x}"
    assert broker.size().total == 0


def test_what_has_arrived_is_filed_together_with_one_answer_on_each_line(
    harness: ClusterHarness, monitor: Monitor, broker: PolledBroker, store: Store
) -> None:
    first, second = FakeWorker(harness), FakeWorker(harness)
    for _ in range(3):
        monitor.tick()
    for number in range(1, 101):
        (first if number % 2 else second).send(outcome(number))

    take_turns(monitor.tick, until=lambda: len(first.filed) == len(second.filed) == 50)

    assert store.saves < 10
    assert len(first.log.messages) + len(second.log.messages) < 20
    assert first.filed == list(range(1, 101, 2))
    assert Task.objects.count() == 100


def test_a_flood_is_filed_in_portions(harness: ClusterHarness, monitor: Monitor, store: Store) -> None:
    worker = FakeWorker(harness)

    worker.send(*[outcome(number) for number in range(1, 2 * MAX_BATCH + 2)])
    take_turns(monitor.tick, until=lambda: len(worker.filed) == 2 * MAX_BATCH + 1)

    assert store.saves == 3


def test_an_outcome_sent_again_is_answered_again_and_stays_one_row(harness: ClusterHarness, monitor: Monitor) -> None:
    worker = FakeWorker(harness)
    worker.send(outcome(1))
    take_turns(monitor.tick, until=lambda: worker.filed)

    worker.send(outcome(1))
    take_turns(monitor.tick, until=lambda: len(worker.filed) == 2)

    assert Task.objects.count() == 1


def test_a_killed_monitor_loses_no_outcome(harness: ClusterHarness, open_monitor: OpenMonitor) -> None:
    first = open_monitor()
    worker = FakeWorker(harness)
    worker.send(outcome(1), outcome(2))
    first._server.close()
    second = open_monitor()

    again = FakeWorker(harness, worker.incarnation)
    again.send(outcome(1), outcome(2))
    take_turns(second.tick, until=lambda: len(again.filed) == 2)

    assert Task.objects.count() == 2


def test_the_last_words_of_a_dead_worker_are_filed(harness: ClusterHarness, monitor: Monitor) -> None:
    worker = FakeWorker(harness)
    worker.send(outcome(1))
    worker.line.close()

    take_turns(monitor.tick, until=Task.objects.exists)


# ── servers that are away ────────────────────────────────────────────────────────────────────────


def test_while_the_store_is_away_nothing_is_lost_and_nothing_answered(
    harness: ClusterHarness, monitor: Monitor, store: Store, broker: PolledBroker, caplog: pytest.LogCaptureFixture
) -> None:
    deliveries = lend(broker, 3)
    worker = FakeWorker(harness)
    store.away = True
    worker.send(*[outcome(number, delivery.receipt) for number, delivery in enumerate(deliveries, 1)])
    take_turns(monitor.tick, until=lambda: monitor._queues[0].backoff.failing)
    for _ in range(5):
        monitor.tick()
    assert worker.filed == []
    assert broker.size().leased == 3

    store.away = False
    take_turns(monitor.tick, until=lambda: len(worker.filed) == 3)

    assert worker.filed == [1, 2, 3]
    assert Task.objects.count() == 3
    assert broker.size().total == 0
    assert caplog.text.count("unavailable") == 1


class Flaky(PolledBroker):
    """Away as long as the test says so."""

    away = True

    def acknowledge(self, receipts: Sequence[str]) -> None:
        if self.away:
            raise BrokerUnavailable("no server")
        super().acknowledge(receipts)


def test_while_the_broker_is_away_nothing_is_answered(harness: ClusterHarness, open_monitor: OpenMonitor) -> None:
    broker = Flaky(SETTINGS.broker)
    (delivery,) = lend(broker, 1)
    monitor, worker = open_monitor(broker=broker), FakeWorker(harness)
    worker.send(outcome(1, delivery.receipt))
    take_turns(monitor.tick, until=lambda: monitor._queues[0].backoff.failing)
    assert worker.filed == []

    broker.away = False
    take_turns(monitor.tick, until=lambda: worker.filed)

    assert Task.objects.count() == 1
    assert broker.size().total == 0


# ── whom it believes ─────────────────────────────────────────────────────────────────────────────


def test_an_obituary_is_ignored_when_the_outcome_was_sent(harness: ClusterHarness, monitor: Monitor) -> None:
    worker, pusher = FakeWorker(harness), FakePusher(harness)
    worker.send(outcome(1))
    worker.line.close()

    pusher.report(worker.incarnation, outcome(1, status="lost"))
    take_turns(monitor.tick, until=lambda: pusher.filed)

    assert Task.objects.get().status == "success"


def test_an_obituary_that_comes_first_waits_for_the_end_of_the_line(harness: ClusterHarness, monitor: Monitor) -> None:
    worker, pusher = FakeWorker(harness), FakePusher(harness)
    take_turns(monitor.tick, until=lambda: len(monitor._registry._connected) == 2)
    pusher.report(worker.incarnation, outcome(1, status="lost"), outcome(2, status="lost"))
    for _ in range(10):
        monitor.tick()
    assert not Task.objects.exists()

    worker.send(outcome(1))
    worker.line.close()
    take_turns(monitor.tick, until=lambda: len(pusher.filed) == 2)

    assert dict(Task.objects.values_list("name", "status")) == {"task 1": "success", "task 2": "lost"}


def test_the_call_of_a_worker_that_died_unheard_is_answered_before_its_obituary(
    harness: ClusterHarness, open_monitor: OpenMonitor
) -> None:
    monitor = open_monitor()
    pusher = FakePusher(harness)
    take_turns(monitor.tick, until=lambda: monitor._registry._connected)

    pusher.report(worker_seat := harness.incarnation(ProcessRole.WORKER), outcome(1, status="lost"))
    worker = FakeWorker(harness, worker_seat)
    worker.send(outcome(1))
    worker.line.close()
    take_turns(monitor.tick, until=lambda: pusher.filed)

    assert Task.objects.get().status == "success"


def test_a_dead_worker_whose_outcome_never_came_is_recorded_as_lost(
    harness: ClusterHarness, monitor: Monitor, broker: PolledBroker
) -> None:
    (delivery,) = lend(broker, 1)
    worker, pusher = FakeWorker(harness), FakePusher(harness)
    worker.line.close()

    pusher.report(worker.incarnation, outcome(1, delivery.receipt, status="lost"))
    take_turns(monitor.tick, until=lambda: pusher.filed)

    row = Task.objects.get()
    assert fields(row, "status", "success", "final") == {"status": "lost", "success": False, "final": True}
    assert broker.size().total == 0


def test_what_the_pusher_puts_aside_is_filed(harness: ClusterHarness, monitor: Monitor) -> None:
    pusher = FakePusher(harness)
    aside = outcome(1, status="rejected")._replace(payload="nonsense")

    pusher.line.send(Outcomes([aside]))
    take_turns(monitor.tick, until=lambda: pusher.filed)

    assert Task.objects.get().payload == "nonsense"


@pytest.fixture
def connections(harness: ClusterHarness) -> list[ClientConnection]:
    """Two callers."""
    log = MessageLog(harness.monitor_server())
    for _ in range(2):
        FakeWorker(harness)
    take_turns(until=lambda: len(log.of(Hello)) == 2)
    return [received.connection for received in log.received]


def test_workers_that_came_and_went_are_forgotten_in_the_end(connections: list[ClientConnection]) -> None:
    registry = WorkerRegistry()

    for incarnation in range(1, 5001):
        registry.connect(connections[0], incarnation)
        for number in range(10):
            registry.note(connections[0], number)
        registry.disconnect(connections[0])

    assert len(registry._seen) <= MAX_DISCONNECTED_WORKERS
    assert registry.pop_numbers(5000) == set(range(10))


def test_a_worker_that_is_here_is_never_forgotten(connections: list[ClientConnection]) -> None:
    registry = WorkerRegistry()
    registry.connect(connections[0], 1)
    registry.disconnect(connections[0])
    registry.connect(connections[0], 1)
    registry.note(connections[0], 7)

    for incarnation in range(2, 1000):
        registry.connect(connections[1], incarnation)
        registry.disconnect(connections[1])

    assert registry.pop_numbers(1) == {7}


# ── telling ──────────────────────────────────────────────────────────────────────────────────────


def test_the_notifier_hears_of_what_is_filed_in_its_order(harness: ClusterHarness, monitor: Monitor) -> None:
    worker = FakeWorker(harness)
    worker.send(outcome(1, hook="a.hook"), outcome(2), outcome(3, hook="a.hook"))
    take_turns(monitor.tick, until=lambda: worker.filed)
    assert harness.board.cluster_word(NOTIFIER_NEEDED)

    notifier = FakeNotifier(harness)
    take_turns(monitor.tick, until=lambda: notifier.received)

    assert notifier.received == [(1, 1), (2, 3)]
    assert Task.objects.count() == 3


def test_without_anything_to_call_there_is_no_notifier(harness: ClusterHarness, monitor: Monitor) -> None:
    worker = FakeWorker(harness)
    worker.send(outcome(1), outcome(2, status="failure"))
    take_turns(monitor.tick, until=lambda: worker.filed)

    assert not harness.board.cluster_word(NOTIFIER_NEEDED)


def test_what_a_notifier_has_begun_is_not_given_to_the_next(harness: ClusterHarness, monitor: Monitor) -> None:
    worker, first = FakeWorker(harness), FakeNotifier(harness)
    worker.send(*(outcome(number, hook="a.hook") for number in range(1, 5)))
    take_turns(monitor.tick, until=lambda: len(first.received) == 4)
    first.begin(1)
    first.finish(1)
    first.begin(2)
    first.line.close()

    second = FakeNotifier(harness)
    take_turns(monitor.tick, until=lambda: len(second.received) == 2)

    assert [job for _, job in second.received] == [3, 4]


def test_a_notifier_that_calls_again_goes_on_with_what_it_has(harness: ClusterHarness, monitor: Monitor) -> None:
    worker, notifier = FakeWorker(harness), FakeNotifier(harness)
    worker.send(outcome(1, hook="a.hook"))
    take_turns(monitor.tick, until=lambda: notifier.received)
    notifier.line.close()
    notifier.line = harness.connect_to_monitor()
    notifier.line.send(NotifierHello(notifier.incarnation.number, notifier.incarnation.row, 1))
    notifier.log = MessageLog(notifier.line)

    worker.send(outcome(2, hook="a.hook"))
    take_turns(monitor.tick, until=lambda: notifier.received)

    assert notifier.received == [(2, 2)]


def test_a_full_backlog_delays_a_batch_for_a_second_and_drops_what_is_too_much(
    harness: ClusterHarness, open_monitor: OpenMonitor, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(notifications, "MAX_BACKLOG", 2)
    monitor = open_monitor(notifications=Notifications(harness.board, clock=clock))
    worker = FakeWorker(harness)
    worker.send(*(outcome(number, hook="a.hook") for number in range(1, 4)))
    take_turns(monitor.tick, until=lambda: len(worker.filed) == 3)
    assert "Hooks and receivers of 1 tasks dropped: the backlog of the notifier is full" in caplog.text

    worker.send(outcome(4))
    take_turns(monitor.tick, until=lambda: monitor._pending)
    monitor.tick()
    assert len(worker.filed) == 3
    clock.advance(notifications.BACKPRESSURE_SECONDS)
    take_turns(monitor.tick, until=lambda: len(worker.filed) == 4)

    notifier = FakeNotifier(harness)
    take_turns(monitor.tick, until=lambda: len(notifier.received) == 2)


def test_a_stop_waits_for_hooks_but_not_for_ever(
    harness: ClusterHarness, open_monitor: OpenMonitor, clock: Clock, caplog: Any
) -> None:
    monitor = open_monitor(notifications=Notifications(harness.board, clock=clock))
    worker, notifier = FakeWorker(harness), FakeNotifier(harness)
    worker.send(outcome(1, hook="a.hook"))
    take_turns(monitor.tick, until=lambda: notifier.received)
    worker.line.close()
    harness.request_stop(monitor._incarnation)
    monitor.tick()
    assert not monitor.finished

    clock.advance(notifications.STOP_SECONDS)
    take_turns(monitor.tick, until=lambda: monitor.finished)

    assert "Hooks and receivers of 1 tasks dropped: the cluster stops" in caplog.text


def test_a_stop_sends_the_notifier_home_when_it_has_called_everything(
    harness: ClusterHarness, monitor: Monitor
) -> None:
    worker, notifier = FakeWorker(harness), FakeNotifier(harness)
    worker.send(outcome(1, hook="a.hook"))
    take_turns(monitor.tick, until=lambda: notifier.received)
    worker.line.close()
    harness.request_stop(monitor._incarnation)
    notifier.finish(1)
    take_turns(monitor.tick, until=lambda: not monitor.finished and notifier.log.of(Stop))

    notifier.line.close()
    take_turns(monitor.tick, until=lambda: monitor.finished)


def test_a_run_that_is_not_the_last_calls_no_hook(
    harness: ClusterHarness, open_monitor: OpenMonitor, store: Store
) -> None:
    monitor = open_monitor()
    monitor._recorder = Recorder(store, PolledBroker(SETTINGS.broker), DeliverySettings(max_attempts=2))
    worker = FakeWorker(harness)

    worker.send(outcome(1, "r", status="failure", hook="a.hook"))
    take_turns(monitor.tick, until=lambda: worker.filed)

    assert not Task.objects.get().final


# ── pruning and leaving ──────────────────────────────────────────────────────────────────────────


def test_old_rows_are_pruned_now_and_then_and_only_when_there_is_something_new(
    harness: ClusterHarness, open_monitor: OpenMonitor, clock: Clock
) -> None:
    pruned: list[float] = []
    monitor = open_monitor(prune=lambda: pruned.append(clock.now), clock=clock)
    clock.advance(PRUNE_SECONDS)
    monitor.tick()
    assert len(pruned) == 1  # for what the one before may have left undone
    clock.advance(PRUNE_SECONDS)
    monitor.tick()
    assert len(pruned) == 1

    worker = FakeWorker(harness)
    worker.send(outcome(1))
    take_turns(monitor.tick, until=lambda: len(pruned) > 1)
    clock.advance(PRUNE_SECONDS)
    for _ in range(3):
        monitor.tick()

    assert len(pruned) == 2


def test_rows_that_only_grow_old_are_looked_for_too(open_monitor: OpenMonitor, clock: Clock) -> None:
    pruned: list[float] = []
    monitor = open_monitor(prune=lambda: pruned.append(clock.now), clock=clock)
    clock.advance(PRUNE_SECONDS)
    monitor.tick()

    clock.advance(IDLE_PRUNE_SECONDS)
    monitor.tick()

    assert len(pruned) == 2


def test_a_monitor_that_is_never_idle_prunes_all_the_same(
    harness: ClusterHarness, open_monitor: OpenMonitor, clock: Clock
) -> None:
    pruned: list[float] = []
    monitor = open_monitor(prune=lambda: pruned.append(clock.now), clock=clock)
    worker = FakeWorker(harness)
    clock.advance(PRUNE_SECONDS)
    worker.send(outcome(1))

    take_turns(monitor.tick, until=lambda: worker.filed)

    assert len(pruned) == 1


def test_a_prune_that_fails_ends_nobody(harness: ClusterHarness, open_monitor: OpenMonitor, clock: Clock) -> None:
    def fail() -> NoReturn:
        raise StoreUnavailable("no server")

    monitor = open_monitor(prune=fail, clock=clock)
    worker = FakeWorker(harness)
    worker.send(outcome(1))
    take_turns(monitor.tick, until=lambda: worker.filed)

    clock.advance(PRUNE_SECONDS)
    take_turns(monitor.tick, until=lambda: monitor._queues[0].backoff.failing)


def test_a_monitor_leaves_when_it_is_told_and_its_last_line_has_closed(
    harness: ClusterHarness, monitor: Monitor
) -> None:
    worker = FakeWorker(harness)
    take_turns(monitor.tick, until=lambda: monitor._server.connections)
    harness.request_stop(monitor._incarnation)
    monitor.tick()
    assert not monitor.finished

    worker.send(outcome(1))
    worker.line.close()
    take_turns(monitor.tick, until=lambda: monitor.finished)

    assert Task.objects.count() == 1


def test_an_orphaned_monitor_files_what_it_has_and_leaves(harness: ClusterHarness, monitor: Monitor) -> None:
    worker = FakeWorker(harness)
    worker.send(outcome(1))
    worker.line.close()
    harness.orphan(monitor._incarnation)

    take_turns(monitor.tick, until=lambda: Task.objects.exists() and monitor.finished)
