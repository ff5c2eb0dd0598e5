"""The monitor over real lines: what it files, in which order, and whom it believes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import pytest

from django_cluster.brokers.base import Delivery, Message
from django_cluster.cluster import notifications
from django_cluster.cluster.monitor import MAX_BATCH, MAX_DEPARTED, PRUNE_ANYWAY, PRUNE_EVERY, Attendance, Monitor
from django_cluster.cluster.notifications import Notifications
from django_cluster.cluster.scoreboard import NOTIFYING
from django_cluster.cluster.seat import Role, Seat
from django_cluster.cluster.wire import Line, Peer
from django_cluster.core.messages import Outcome
from django_cluster.core.settings import DeliverySettings, ResultSettings
from django_cluster.errors import BrokerUnavailable, StoreUnavailable
from django_cluster.lifecycle.record import Recorder
from django_cluster.models import Task
from django_cluster.stores.orm import OrmResults
from tests.conftest import Clock
from tests.integration.stage import SETTINGS, Ear, PolledBroker, Stage, play
from tests.integration.stage import broker as broker
from tests.integration.stage import stage as stage

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

    def __init__(self, stage: Stage, seat: Seat | None = None) -> None:
        self.seat = seat or stage.seat(Role.WORKER)
        self.line: Line = stage.line_to_monitor()
        self.ear = Ear(self.line)
        self.line.send(("hello", self.seat.number))

    def send(self, *outcomes: Outcome) -> None:
        self.line.send(("outcomes", [tuple(outcome) for outcome in outcomes]))

    @property
    def filed(self) -> list[int]:
        return [number for _, numbers in self.ear.named("filed") for number in numbers]


class FakePusher(FakeWorker):
    def report(self, seat: Seat, *outcomes: Outcome) -> None:
        self.line.send(("obituary", seat.number, [tuple(outcome) for outcome in outcomes]))


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

    def __init__(self, stage: Stage, begun: int = 0) -> None:
        self.stage = stage
        self.seat = stage.seat(Role.NOTIFIER)
        self.line: Line = stage.line_to_monitor()
        self.ear = Ear(self.line)
        self.line.send(("notifier", self.seat.number, self.seat.row, begun))

    def begin(self, number: int) -> None:
        self.stage.board.begin(self.seat.row, number, 1.0, 0.0)

    def finish(self, number: int) -> None:
        self.line.send(("done", number))

    @property
    def heard(self) -> list[tuple[int, int]]:
        """The number of each notification, and of its job."""
        return [(number, values[0]) for _, batch in self.ear.named("notify") for number, values in batch]


@pytest.fixture
def store() -> Store:
    return Store(ResultSettings(save_limit=0), "tests")


@pytest.fixture
def open_monitor(stage: Stage, broker: PolledBroker, store: Store) -> Iterator[OpenMonitor]:
    opened: list[Monitor] = []

    def open_one(*, broker: PolledBroker = broker, **more: Any) -> Monitor:
        seat = stage.seat(Role.MONITOR)
        recorder = Recorder(store, broker, DeliverySettings(max_attempts=1))
        more = {"notifications": Notifications(stage.board), "prune": store.prune, **more}
        opened.append(Monitor(seat, stage.board, stage.orders(seat), recorder, **more))
        return opened[-1]

    yield open_one
    for monitor in opened:
        monitor._hub.close()


@pytest.fixture
def monitor(open_monitor: OpenMonitor) -> Monitor:
    return open_monitor()


# ── filing ───────────────────────────────────────────────────────────────────────────────────────


def test_an_outcome_becomes_a_row_is_acknowledged_and_then_answered(
    stage: Stage, monitor: Monitor, broker: PolledBroker
) -> None:
    (delivery,) = lend(broker, 1)
    worker = FakeWorker(stage)

    worker.send(outcome(1, delivery.receipt))
    play(monitor.tick, until=lambda: worker.filed)

    assert worker.filed == [1]
    assert Task.objects.get().pk == f"{1:032x}"
    assert broker.size().total == 0


def test_what_has_arrived_is_filed_together_with_one_answer_on_each_line(
    stage: Stage, monitor: Monitor, broker: PolledBroker, store: Store
) -> None:
    first, second = FakeWorker(stage), FakeWorker(stage)
    for _ in range(3):
        monitor.tick()
    for number in range(1, 101):
        (first if number % 2 else second).send(outcome(number))

    play(monitor.tick, until=lambda: len(first.filed) == len(second.filed) == 50)

    assert store.saves < 10
    assert len(first.ear.words) + len(second.ear.words) < 20
    assert first.filed == list(range(1, 101, 2))
    assert Task.objects.count() == 100


def test_a_flood_is_filed_in_portions(stage: Stage, monitor: Monitor, store: Store) -> None:
    worker = FakeWorker(stage)

    worker.send(*[outcome(number) for number in range(1, 2 * MAX_BATCH + 2)])
    play(monitor.tick, until=lambda: len(worker.filed) == 2 * MAX_BATCH + 1)

    assert store.saves == 3


def test_an_outcome_sent_again_is_answered_again_and_stays_one_row(stage: Stage, monitor: Monitor) -> None:
    worker = FakeWorker(stage)
    worker.send(outcome(1))
    play(monitor.tick, until=lambda: worker.filed)

    worker.send(outcome(1))
    play(monitor.tick, until=lambda: len(worker.filed) == 2)

    assert Task.objects.count() == 1


def test_a_killed_monitor_loses_no_outcome(stage: Stage, open_monitor: OpenMonitor) -> None:
    first = open_monitor()
    worker = FakeWorker(stage)
    worker.send(outcome(1), outcome(2))
    first._hub.close()
    second = open_monitor()

    again = FakeWorker(stage, worker.seat)
    again.send(outcome(1), outcome(2))
    play(second.tick, until=lambda: len(again.filed) == 2)

    assert Task.objects.count() == 2


def test_the_last_words_of_a_dead_worker_are_filed(stage: Stage, monitor: Monitor) -> None:
    worker = FakeWorker(stage)
    worker.send(outcome(1))
    worker.line.close()

    play(monitor.tick, until=Task.objects.exists)


# ── servers that are away ────────────────────────────────────────────────────────────────────────


def test_while_the_store_is_away_nothing_is_lost_and_nothing_answered(
    stage: Stage, monitor: Monitor, store: Store, broker: PolledBroker, caplog: pytest.LogCaptureFixture
) -> None:
    deliveries = lend(broker, 3)
    worker = FakeWorker(stage)
    store.away = True
    worker.send(*[outcome(number, delivery.receipt) for number, delivery in enumerate(deliveries, 1)])
    play(monitor.tick, until=lambda: monitor._lanes[0].outage.lasts)
    for _ in range(5):
        monitor.tick()
    assert worker.filed == []
    assert broker.size().leased == 3

    store.away = False
    play(monitor.tick, until=lambda: len(worker.filed) == 3)

    assert worker.filed == [1, 2, 3]
    assert Task.objects.count() == 3
    assert broker.size().total == 0
    assert caplog.text.count("cannot be used") == 1


class Flaky(PolledBroker):
    """Away as long as the test says so."""

    away = True

    def acknowledge(self, receipts: Sequence[str]) -> None:
        if self.away:
            raise BrokerUnavailable("no server")
        super().acknowledge(receipts)


def test_while_the_broker_is_away_nothing_is_answered(stage: Stage, open_monitor: OpenMonitor) -> None:
    broker = Flaky(SETTINGS.broker)
    (delivery,) = lend(broker, 1)
    monitor, worker = open_monitor(broker=broker), FakeWorker(stage)
    worker.send(outcome(1, delivery.receipt))
    play(monitor.tick, until=lambda: monitor._lanes[0].outage.lasts)
    assert worker.filed == []

    broker.away = False
    play(monitor.tick, until=lambda: worker.filed)

    assert Task.objects.count() == 1
    assert broker.size().total == 0


# ── whom it believes ─────────────────────────────────────────────────────────────────────────────


def test_an_obituary_is_ignored_when_the_outcome_was_sent(stage: Stage, monitor: Monitor) -> None:
    worker, pusher = FakeWorker(stage), FakePusher(stage)
    worker.send(outcome(1))
    worker.line.close()

    pusher.report(worker.seat, outcome(1, status="lost"))
    play(monitor.tick, until=lambda: pusher.filed)

    assert Task.objects.get().status == "success"


def test_an_obituary_that_comes_first_waits_for_the_end_of_the_line(stage: Stage, monitor: Monitor) -> None:
    worker, pusher = FakeWorker(stage), FakePusher(stage)
    play(monitor.tick, until=lambda: len(monitor._attendance._present) == 2)
    pusher.report(worker.seat, outcome(1, status="lost"), outcome(2, status="lost"))
    for _ in range(10):
        monitor.tick()
    assert not Task.objects.exists()

    worker.send(outcome(1))
    worker.line.close()
    play(monitor.tick, until=lambda: len(pusher.filed) == 2)

    assert dict(Task.objects.values_list("name", "status")) == {"task 1": "success", "task 2": "lost"}


def test_the_call_of_a_worker_that_died_unheard_is_answered_before_its_obituary(
    stage: Stage, open_monitor: OpenMonitor
) -> None:
    monitor = open_monitor()
    pusher = FakePusher(stage)
    play(monitor.tick, until=lambda: monitor._attendance._present)

    pusher.report(worker_seat := stage.seat(Role.WORKER), outcome(1, status="lost"))
    worker = FakeWorker(stage, worker_seat)
    worker.send(outcome(1))
    worker.line.close()
    play(monitor.tick, until=lambda: pusher.filed)

    assert Task.objects.get().status == "success"


def test_a_dead_worker_whose_outcome_never_came_is_recorded_as_lost(
    stage: Stage, monitor: Monitor, broker: PolledBroker
) -> None:
    (delivery,) = lend(broker, 1)
    worker, pusher = FakeWorker(stage), FakePusher(stage)
    worker.line.close()

    pusher.report(worker.seat, outcome(1, delivery.receipt, status="lost"))
    play(monitor.tick, until=lambda: pusher.filed)

    row = Task.objects.get()
    assert (row.status, row.success, row.final) == ("lost", False, True)
    assert broker.size().total == 0


def test_what_the_pusher_puts_aside_is_filed(stage: Stage, monitor: Monitor) -> None:
    pusher = FakePusher(stage)
    aside = outcome(1, status="rejected")._replace(payload="nonsense")

    pusher.line.send(("outcomes", pusher.seat.number, [tuple(aside)]))
    play(monitor.tick, until=lambda: pusher.filed)

    assert Task.objects.get().payload == "nonsense"


@pytest.fixture
def peers(stage: Stage) -> list[Peer]:
    """Two callers."""
    ear = Ear(stage.hub_of_monitor())
    for _ in range(2):
        FakeWorker(stage)
    play(until=lambda: len(ear.named("hello")) == 2)
    return [heard.peer for heard in ear.heard]


def test_workers_that_came_and_went_are_forgotten_in_the_end(peers: list[Peer]) -> None:
    attendance = Attendance()

    for seat in range(1, 5001):
        attendance.enter(peers[0], seat)
        for number in range(10):
            attendance.note(peers[0], number)
        attendance.leave(peers[0])

    assert len(attendance._seen) <= MAX_DEPARTED
    assert attendance.take_seen(5000) == set(range(10))


def test_a_worker_that_is_here_is_never_forgotten(peers: list[Peer]) -> None:
    attendance = Attendance()
    attendance.enter(peers[0], 1)
    attendance.leave(peers[0])
    attendance.enter(peers[0], 1)
    attendance.note(peers[0], 7)

    for seat in range(2, 1000):
        attendance.enter(peers[1], seat)
        attendance.leave(peers[1])

    assert attendance.take_seen(1) == {7}


# ── telling ──────────────────────────────────────────────────────────────────────────────────────


def test_the_notifier_hears_of_what_is_filed_in_its_order(stage: Stage, monitor: Monitor) -> None:
    worker = FakeWorker(stage)
    worker.send(outcome(1, hook="a.hook"), outcome(2), outcome(3, hook="a.hook"))
    play(monitor.tick, until=lambda: worker.filed)
    assert stage.board.cluster(NOTIFYING)

    notifier = FakeNotifier(stage)
    play(monitor.tick, until=lambda: notifier.heard)

    assert notifier.heard == [(1, 1), (2, 3)]
    assert Task.objects.count() == 3


def test_without_anything_to_call_there_is_no_notifier(stage: Stage, monitor: Monitor) -> None:
    worker = FakeWorker(stage)
    worker.send(outcome(1), outcome(2, status="failure"))
    play(monitor.tick, until=lambda: worker.filed)

    assert not stage.board.cluster(NOTIFYING)


def test_what_a_notifier_has_begun_is_not_given_to_the_next(stage: Stage, monitor: Monitor) -> None:
    worker, first = FakeWorker(stage), FakeNotifier(stage)
    worker.send(*(outcome(number, hook="a.hook") for number in range(1, 5)))
    play(monitor.tick, until=lambda: len(first.heard) == 4)
    first.begin(1)
    first.finish(1)
    first.begin(2)
    first.line.close()

    second = FakeNotifier(stage)
    play(monitor.tick, until=lambda: len(second.heard) == 2)

    assert [job for _, job in second.heard] == [3, 4]


def test_a_notifier_that_calls_again_goes_on_with_what_it_has(stage: Stage, monitor: Monitor) -> None:
    worker, notifier = FakeWorker(stage), FakeNotifier(stage)
    worker.send(outcome(1, hook="a.hook"))
    play(monitor.tick, until=lambda: notifier.heard)
    notifier.line.close()
    notifier.line = stage.line_to_monitor()
    notifier.line.send(("notifier", notifier.seat.number, notifier.seat.row, 1))
    notifier.ear = Ear(notifier.line)

    worker.send(outcome(2, hook="a.hook"))
    play(monitor.tick, until=lambda: notifier.heard)

    assert notifier.heard == [(2, 2)]


def test_a_full_backlog_delays_a_batch_for_a_second_and_drops_what_is_too_much(
    stage: Stage, open_monitor: OpenMonitor, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(notifications, "MAX_WAITING", 2)
    monitor = open_monitor(notifications=Notifications(stage.board, clock=clock))
    worker = FakeWorker(stage)
    worker.send(*(outcome(number, hook="a.hook") for number in range(1, 4)))
    play(monitor.tick, until=lambda: len(worker.filed) == 3)
    assert "Hooks and receivers of 1 tasks dropped: backlog" in caplog.text

    worker.send(outcome(4))
    play(monitor.tick, until=lambda: monitor._pending)
    monitor.tick()
    assert len(worker.filed) == 3
    clock.advance(notifications.HOLD_SECONDS)
    play(monitor.tick, until=lambda: len(worker.filed) == 4)

    notifier = FakeNotifier(stage)
    play(monitor.tick, until=lambda: len(notifier.heard) == 2)


def test_a_stop_waits_for_hooks_but_not_for_ever(
    stage: Stage, open_monitor: OpenMonitor, clock: Clock, caplog: Any
) -> None:
    monitor = open_monitor(notifications=Notifications(stage.board, clock=clock))
    worker, notifier = FakeWorker(stage), FakeNotifier(stage)
    worker.send(outcome(1, hook="a.hook"))
    play(monitor.tick, until=lambda: notifier.heard)
    worker.line.close()
    stage.tell_to_leave(monitor._seat)
    monitor.tick()
    assert not monitor.gone

    clock.advance(notifications.STOP_SECONDS)
    play(monitor.tick, until=lambda: monitor.gone)

    assert "Hooks and receivers of 1 tasks dropped: the cluster stops" in caplog.text


def test_a_stop_sends_the_notifier_home_when_it_has_called_everything(stage: Stage, monitor: Monitor) -> None:
    worker, notifier = FakeWorker(stage), FakeNotifier(stage)
    worker.send(outcome(1, hook="a.hook"))
    play(monitor.tick, until=lambda: notifier.heard)
    worker.line.close()
    stage.tell_to_leave(monitor._seat)
    notifier.finish(1)
    play(monitor.tick, until=lambda: not monitor.gone and notifier.ear.named("leave"))

    notifier.line.close()
    play(monitor.tick, until=lambda: monitor.gone)


def test_a_run_that_is_not_the_last_calls_no_hook(stage: Stage, open_monitor: OpenMonitor, store: Store) -> None:
    monitor = open_monitor()
    monitor._recorder = Recorder(store, PolledBroker(SETTINGS.broker), DeliverySettings(max_attempts=2))
    worker = FakeWorker(stage)

    worker.send(outcome(1, "r", status="failure", hook="a.hook"))
    play(monitor.tick, until=lambda: worker.filed)

    assert not Task.objects.get().final


# ── pruning and leaving ──────────────────────────────────────────────────────────────────────────


def test_old_rows_are_pruned_now_and_then_and_only_when_there_is_something_new(
    stage: Stage, open_monitor: OpenMonitor, clock: Clock
) -> None:
    pruned: list[float] = []
    monitor = open_monitor(prune=lambda: pruned.append(clock.now), clock=clock)
    clock.advance(PRUNE_EVERY)
    monitor.tick()
    assert len(pruned) == 1  # for what the one before may have left undone
    clock.advance(PRUNE_EVERY)
    monitor.tick()
    assert len(pruned) == 1

    worker = FakeWorker(stage)
    worker.send(outcome(1))
    play(monitor.tick, until=lambda: len(pruned) > 1)
    clock.advance(PRUNE_EVERY)
    for _ in range(3):
        monitor.tick()

    assert len(pruned) == 2


def test_rows_that_only_grow_old_are_looked_for_too(open_monitor: OpenMonitor, clock: Clock) -> None:
    pruned: list[float] = []
    monitor = open_monitor(prune=lambda: pruned.append(clock.now), clock=clock)
    clock.advance(PRUNE_EVERY)
    monitor.tick()

    clock.advance(PRUNE_ANYWAY)
    monitor.tick()

    assert len(pruned) == 2


def test_a_monitor_that_is_never_idle_prunes_all_the_same(
    stage: Stage, open_monitor: OpenMonitor, clock: Clock
) -> None:
    pruned: list[float] = []
    monitor = open_monitor(prune=lambda: pruned.append(clock.now), clock=clock)
    worker = FakeWorker(stage)
    clock.advance(PRUNE_EVERY)
    worker.send(outcome(1))

    play(monitor.tick, until=lambda: worker.filed)

    assert len(pruned) == 1


def test_a_prune_that_fails_ends_nobody(stage: Stage, open_monitor: OpenMonitor, clock: Clock) -> None:
    def fail() -> NoReturn:
        raise StoreUnavailable("no server")

    monitor = open_monitor(prune=fail, clock=clock)
    worker = FakeWorker(stage)
    worker.send(outcome(1))
    play(monitor.tick, until=lambda: worker.filed)

    clock.advance(PRUNE_EVERY)
    play(monitor.tick, until=lambda: monitor._lanes[0].outage.lasts)


def test_a_monitor_leaves_when_it_is_told_and_its_last_line_has_closed(stage: Stage, monitor: Monitor) -> None:
    worker = FakeWorker(stage)
    play(monitor.tick, until=lambda: monitor._hub.peers)
    stage.tell_to_leave(monitor._seat)
    monitor.tick()
    assert not monitor.gone

    worker.send(outcome(1))
    worker.line.close()
    play(monitor.tick, until=lambda: monitor.gone)

    assert Task.objects.count() == 1


def test_an_orphaned_monitor_files_what_it_has_and_leaves(stage: Stage, monitor: Monitor) -> None:
    worker = FakeWorker(stage)
    worker.send(outcome(1))
    worker.line.close()
    stage.orphan(monitor._seat)

    play(monitor.tick, until=lambda: Task.objects.exists() and monitor.gone)
