"""The pusher over real lines: what it leases, to whom it hands it, and how it accounts for the dead."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from django_cluster.brokers.base import Delivery, Message
from django_cluster.cluster import undertaker
from django_cluster.cluster.intake import PATIENCE_WITH_STRANGERS
from django_cluster.cluster.pusher import Pusher
from django_cluster.cluster.scoreboard import REVOKED, Cause
from django_cluster.cluster.seat import Role, Seat
from django_cluster.cluster.wire import Hub, Line
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, Outcome
from django_cluster.errors import BrokerUnavailable
from tests.conftest import Clock
from tests.integration.stage import CODEC, SETTINGS, Ear, PolledBroker, Stage, body, enqueue, ids_of, play
from tests.integration.stage import broker as broker
from tests.integration.stage import stage as stage

OpenPusher = Callable[..., Pusher]


class FakeWorker:
    """A worker as the pusher sees it: a line, a row, and what it was given."""

    def __init__(self, stage: Stage, waiting: Sequence[Job] = (), held: Sequence[tuple[int, str, int]] = ()) -> None:
        self.stage = stage
        self.seat: Seat = stage.seat(Role.WORKER)
        self.line: Line = stage.line_to_pusher()
        self.ear = Ear(self.line)
        self.line.send(("hello", self.seat.number, self.seat.row, [tuple(job) for job in waiting], list(held)))

    def ask(self, wanted: int, settled: Sequence[int] = ()) -> None:
        self.line.send(("ready", wanted, list(settled)))

    @property
    def jobs(self) -> list[Job]:
        return [Job(*job) for _, jobs in self.ear.named("jobs") for job in jobs]

    def begin(self, job: Job, ago: float = 0.0) -> None:
        self.stage.board.begin(self.seat.row, job.number, time.monotonic() - ago, 0.0, job.receipt)

    def die(self, code: int = -9, cause: Cause = Cause.NONE) -> None:
        self.line.close()
        self.stage.note_death(self.seat, code, cause)


@pytest.fixture
def reports(stage: Stage) -> Hub:
    """A monitor that only listens."""
    return stage.hub_of_monitor()


@pytest.fixture
def open_pusher(stage: Stage, broker: PolledBroker) -> Iterator[OpenPusher]:
    opened: list[Pusher] = []

    def open_one(prefetch: int = 0, *, broker: PolledBroker = broker, **more: Any) -> Pusher:
        seat = stage.seat(Role.PUSHER)
        settings = (SETTINGS.broker, replace(SETTINGS.crew, prefetch=prefetch))
        opened.append(Pusher(seat, stage.board, stage.orders(seat), broker, CODEC, settings, **more))
        return opened[-1]

    yield open_one
    for pusher in opened:
        close(pusher)


def close(pusher: Pusher) -> None:
    """As its process would, by ending."""
    pusher.close()


@pytest.fixture
def pusher(reports: Hub, open_pusher: OpenPusher) -> Pusher:
    return open_pusher()


def outcomes(ear: Ear, word: str) -> list[Outcome]:
    return [Outcome(*values) for _, _, reported in ear.named(word) for values in reported]


# ── handing out ──────────────────────────────────────────────────────────────────────────────────


def test_a_worker_gets_what_it_asked_for_in_one_message_and_no_more(
    stage: Stage, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2, 3, 4, 5)
    worker = FakeWorker(stage)

    worker.ask(3)
    play(pusher.tick, until=lambda: worker.jobs)

    assert ids_of(worker.jobs) == [1, 2, 3]
    assert len(worker.ear.words) == 1
    assert (broker.size().leased, broker.size().ready) == (3, 2)


def test_who_does_not_ask_gets_nothing(stage: Stage, pusher: Pusher, broker: PolledBroker) -> None:
    enqueue(broker, 1)
    silent, eager = FakeWorker(stage), FakeWorker(stage)

    eager.ask(5)
    play(pusher.tick, until=lambda: eager.jobs)

    assert silent.jobs == []


def test_what_comes_later_reaches_who_has_asked_before(stage: Stage, pusher: Pusher, broker: PolledBroker) -> None:
    worker = FakeWorker(stage)
    worker.ask(1)
    for _ in range(5):
        pusher.tick()

    enqueue(broker, 1)
    play(pusher.tick, until=lambda: worker.jobs)

    assert ids_of(worker.jobs) == [1]


def test_jobs_are_handed_out_evenly(stage: Stage, pusher: Pusher, broker: PolledBroker) -> None:
    workers = [FakeWorker(stage) for _ in range(4)]
    for worker in workers:
        worker.ask(100)
    play(pusher.tick, until=lambda: len(pusher._ledger.borrowers) == 4 and pusher._ledger.wanted == 400)

    enqueue(broker, *range(1, 41))
    play(pusher.tick, until=lambda: sum(len(worker.jobs) for worker in workers) == 40)

    assert [len(worker.jobs) for worker in workers] == [10] * 4


def test_a_limited_cluster_holds_no_more_than_that_beyond_what_runs(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, broker: PolledBroker
) -> None:
    pusher = open_pusher(prefetch=1)
    enqueue(broker, *range(20))
    workers = [FakeWorker(stage), FakeWorker(stage)]

    for worker in workers:
        worker.ask(256)  # as a worker does that has seen quick tasks
    play(pusher.tick, until=lambda: broker.size().leased == 3)
    for _ in range(5):
        pusher.tick()
    assert broker.size().leased == 3

    jobs = [job for worker in workers for job in worker.jobs]
    ran = next(worker for worker in workers if len(worker.jobs) == 2)
    ran.begin(ran.jobs[1])  # so the first of them is done
    play(pusher.tick, until=lambda: broker.size().leased == 4)
    for _ in range(5):
        pusher.tick()

    assert (len(jobs), broker.size().leased) == (3, 4)


def test_beyond_what_was_asked_only_the_prefetch_is_leased(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, broker: PolledBroker
) -> None:
    pusher = open_pusher(prefetch=2)
    enqueue(broker, 1, 2, 3, 4, 5)
    worker = FakeWorker(stage)

    worker.ask(1)
    play(pusher.tick, until=lambda: worker.jobs and broker.size().leased == 3)
    pusher.tick()

    assert (broker.size().leased, broker.size().ready) == (3, 2)


def test_numbers_and_attempts_travel_with_the_job(stage: Stage, pusher: Pusher, broker: PolledBroker) -> None:
    enqueue(broker, 1, 2)
    broker.release([broker.lease(1)[0].receipt])
    worker = FakeWorker(stage)

    worker.ask(2)
    play(pusher.tick, until=lambda: worker.jobs)

    first, second = worker.jobs
    assert (first.attempt, second.attempt) == (2, 1)
    assert first.number < second.number


# ── behind a slow task ───────────────────────────────────────────────────────────────────────────


def test_what_waits_behind_a_slow_task_goes_to_an_idle_worker(
    stage: Stage, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2, 3)
    slow = FakeWorker(stage)
    slow.ask(3)
    play(pusher.tick, until=lambda: len(slow.jobs) == 3)
    slow.begin(slow.jobs[0], ago=5.0)

    idle = FakeWorker(stage)
    idle.ask(5)
    play(pusher.tick, until=lambda: len(idle.jobs) == 2)

    assert ids_of(idle.jobs) == [2, 3]
    assert {job.attempt for job in idle.jobs} == {1}
    assert stage.board.get(slow.seat.row, REVOKED) == slow.jobs[-1].number
    assert min(job.number for job in idle.jobs) > slow.jobs[-1].number


def test_a_quick_task_keeps_what_waits_behind_it(stage: Stage, pusher: Pusher, broker: PolledBroker) -> None:
    enqueue(broker, 1, 2, 3)
    busy = FakeWorker(stage)
    busy.ask(3)
    play(pusher.tick, until=lambda: len(busy.jobs) == 3)
    busy.begin(busy.jobs[0], ago=-60.0)

    idle = FakeWorker(stage)
    idle.ask(5)
    for _ in range(20):
        pusher.tick()

    assert idle.jobs == []
    assert stage.board.get(busy.seat.row, REVOKED) == 0


def test_what_a_worker_returns_goes_to_the_next_who_asks(stage: Stage, pusher: Pusher, broker: PolledBroker) -> None:
    enqueue(broker, 1, 2, 3, 4)
    leaving, next_one = FakeWorker(stage), FakeWorker(stage)
    leaving.ask(3)
    play(pusher.tick, until=lambda: len(leaving.jobs) == 3)

    leaving.line.send(("returned", [job.number for job in leaving.jobs[1:]]))
    next_one.ask(2)
    play(pusher.tick, until=lambda: len(next_one.jobs) == 2)

    assert ids_of(next_one.jobs) == [2, 3]


# ── the dead ─────────────────────────────────────────────────────────────────────────────────────


def test_of_a_dead_worker_what_was_begun_is_reported_and_the_rest_goes_on(
    stage: Stage, reports: Hub, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2, 3, 4)
    monitor = Ear(reports)
    victim, heir = FakeWorker(stage), FakeWorker(stage)
    victim.ask(4)
    play(pusher.tick, until=lambda: len(victim.jobs) == 4)
    for job in victim.jobs[:2]:
        victim.begin(job)

    victim.die()
    heir.ask(5)
    play(pusher.tick, until=lambda: len(heir.jobs) == 2 and monitor.named("obituary"))

    reported = outcomes(monitor, "obituary")
    assert [int(outcome.id, 16) for outcome in reported] == [1, 2]
    assert {outcome.status for outcome in reported} == {"lost"}
    assert monitor.named("obituary")[0][1] == victim.seat.number
    assert ids_of(heir.jobs) == [3, 4]
    assert {job.attempt for job in heir.jobs} == {1}


def test_what_the_worker_had_settled_is_not_reported(
    stage: Stage, reports: Hub, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2)
    monitor = Ear(reports)
    victim = FakeWorker(stage)
    victim.ask(2)
    play(pusher.tick, until=lambda: len(victim.jobs) == 2)
    for job in victim.jobs:
        victim.begin(job)
    victim.ask(0, settled=[victim.jobs[0].number])

    victim.die()
    play(pusher.tick, until=lambda: monitor.named("obituary"))

    assert [int(outcome.id, 16) for outcome in outcomes(monitor, "obituary")] == [2]


def test_a_worker_killed_for_its_time_limit_is_reported_as_a_timeout(
    stage: Stage, reports: Hub, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1)
    monitor = Ear(reports)
    victim = FakeWorker(stage)
    victim.ask(1)
    play(pusher.tick, until=lambda: victim.jobs)
    victim.begin(victim.jobs[0])

    victim.die(cause=Cause.TIMEOUT)
    play(pusher.tick, until=lambda: monitor.named("obituary"))

    (outcome,) = outcomes(monitor, "obituary")
    assert outcome.status == "timeout"
    assert outcome.failure is not None
    assert outcome.failure[0] == "django_cluster.errors.TaskTimeout"


def test_an_idle_worker_dies_unnoticed(stage: Stage, reports: Hub, pusher: Pusher, broker: PolledBroker) -> None:
    monitor = Ear(reports)
    victim = FakeWorker(stage)
    victim.ask(1)
    play(pusher.tick, until=lambda: pusher._ledger.wanted)

    victim.die()
    play(pusher.tick, until=lambda: not pusher._ledger.borrowers and not pusher._undertaker.busy)

    assert monitor.named("obituary") == []
    assert pusher._ledger.wanted == 0


def test_an_obituary_waits_for_the_word_of_the_sentinel_but_not_for_ever(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, broker: PolledBroker, clock: Clock
) -> None:
    pusher = open_pusher(clock=clock)
    enqueue(broker, 1)
    monitor = Ear(reports)
    victim = FakeWorker(stage)
    victim.ask(1)
    play(pusher.tick, until=lambda: victim.jobs)
    victim.begin(victim.jobs[0])

    victim.line.close()
    play(pusher.tick, until=lambda: pusher._undertaker.busy)
    for _ in range(5):
        pusher.tick()
    assert monitor.named("obituary") == []
    clock.advance(undertaker.EXIT_PATIENCE)
    play(pusher.tick, until=lambda: monitor.named("obituary"))

    assert "nobody saw how" in outcomes(monitor, "obituary")[0].failure[1]  # type: ignore[index]  # it has one


def test_a_worker_that_lost_only_its_line_is_not_taken_for_dead(
    stage: Stage, reports: Hub, pusher: Pusher, broker: PolledBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undertaker, "EXIT_PATIENCE", 0.05)
    enqueue(broker, 1, 2)
    monitor = Ear(reports)
    worker = FakeWorker(stage)
    worker.ask(2)
    play(pusher.tick, until=lambda: len(worker.jobs) == 2)
    worker.begin(worker.jobs[0], ago=-60.0)

    worker.line.close()
    play(pusher.tick, until=lambda: pusher._undertaker.busy)
    worker.line.connect()
    done, waiting = worker.jobs
    held = [(done.number, done.receipt, done.attempt)]
    worker.line.send(("hello", worker.seat.number, worker.seat.row, [tuple(waiting)], held))
    play(pusher.tick, until=lambda: pusher._ledger.borrowers)
    play(pusher.tick, until=lambda: not pusher._undertaker.busy)
    pusher.tick()

    assert monitor.named("obituary") == []
    assert [loan.receipt for loan in pusher._ledger.loans] == [waiting.receipt]
    assert sorted(pusher._ledger.receipts()) == sorted([done.receipt, waiting.receipt])


def test_an_obituary_is_told_again_to_the_next_monitor_until_it_is_filed(
    stage: Stage, reports: Hub, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1)
    monitor = Ear(reports)
    victim = FakeWorker(stage)
    victim.ask(1)
    play(pusher.tick, until=lambda: victim.jobs)
    victim.begin(victim.jobs[0])
    victim.die()
    play(pusher.tick, until=lambda: monitor.named("obituary"))

    reports.close()
    successor = stage.hub_of_monitor()
    ear = Ear(successor)
    play(pusher.tick, until=lambda: ear.named("obituary"))
    (outcome,) = outcomes(ear, "obituary")
    ear.heard[0].peer.send(("filed", [outcome.number]))
    play(pusher.tick, until=lambda: not pusher._undertaker.busy)
    successor.close()
    third = Ear(stage.hub_of_monitor())
    play(pusher.tick, until=lambda: third.named("hello"))

    assert third.named("obituary") == []


# ── leases ───────────────────────────────────────────────────────────────────────────────────────


def test_leases_are_kept_alive_while_a_job_runs_or_waits(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    pusher = open_pusher(prefetch=1, broker=broker, clock=clock)
    enqueue(broker, 1, 2)
    worker = FakeWorker(stage)
    worker.ask(1)
    play(pusher.tick, until=lambda: len(worker.jobs) == 1 and broker.size().leased == 2)

    for _ in range(20):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()

    assert broker.size().leased == 2
    assert {waiting.attempts for waiting in broker.peek()} == {1}


def test_the_lost_lease_of_a_running_task_is_logged_once(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    pusher = open_pusher(broker=broker, clock=clock)
    enqueue(broker, 1)
    worker = FakeWorker(stage)
    worker.ask(1)
    play(pusher.tick, until=lambda: worker.jobs)
    worker.begin(worker.jobs[0])

    broker.purge()
    for _ in range(5):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()

    assert caplog.text.count("Leases lost") == 1


def test_waiting_messages_whose_lease_was_lost_are_not_handed_out(
    stage: Stage,
    reports: Hub,
    open_pusher: OpenPusher,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    pusher = open_pusher(prefetch=2, broker=broker, clock=clock)
    enqueue(broker, 1, 2)
    play(pusher.tick, until=lambda: broker.size().leased == 2)

    broker.purge()
    clock.advance(SETTINGS.broker.lease / 3 + 0.001)
    play(pusher.tick, until=lambda: not pusher._ledger.loans)
    worker = FakeWorker(stage)
    worker.ask(2)
    for _ in range(5):
        pusher.tick()

    assert worker.jobs == []
    assert "0 running tasks and 2 waiting messages" in caplog.text


def test_workers_can_read_until_when_everything_is_certainly_leased(
    stage: Stage, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = Flaky(SETTINGS.broker, clock)
    broker.away = False
    pusher = open_pusher(broker=broker, clock=clock)
    enqueue(broker, 1)
    worker = FakeWorker(stage)
    worker.ask(1)
    play(pusher.tick, until=lambda: worker.jobs)
    assert clock() < stage.board.leased_until < clock() + SETTINGS.broker.lease

    broker.away = True
    before = stage.board.leased_until
    clock.advance(SETTINGS.broker.lease)
    play(pusher.tick, until=lambda: pusher._outage.lasts)
    assert stage.board.leased_until == before

    broker.away = False
    play(lambda: clock.advance(1), pusher.tick, until=lambda: stage.board.leased_until > clock())


def test_a_new_pusher_goes_on_renewing_what_the_workers_say_they_hold(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    enqueue(broker, 1, 2)
    done, waiting = broker.lease(2)
    pusher = open_pusher(broker=broker, clock=clock)
    worker = FakeWorker(stage, waiting=[Job(8, body(2), waiting.receipt, 1)], held=[(7, done.receipt, 1)])
    play(pusher.tick, until=lambda: pusher._ledger.borrowers)

    for _ in range(10):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()

    assert broker.size().leased == 2
    worker.ask(1, settled=[7])
    play(pusher.tick, until=lambda: worker.jobs)
    worker.ask(0, settled=[worker.jobs[0].number])
    play(pusher.tick, until=lambda: not pusher._ledger.receipts())


def test_a_new_pusher_keeps_what_runs_leased_though_its_worker_has_not_called(
    stage: Stage, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    enqueue(broker, 1)
    (running,) = broker.lease(1)
    busy = stage.seat(Role.WORKER)
    stage.board.begin(busy.row, 7, time.monotonic(), 0.0, running.receipt)
    pusher = open_pusher(broker=broker, clock=clock)

    for _ in range(10):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()

    assert broker.lease(1) == []


def test_a_new_pusher_keeps_what_a_busy_worker_has_done_leased_until_it_calls(
    stage: Stage, open_pusher: OpenPusher, clock: Clock
) -> None:
    """The worker may keep the outcomes, or have sent them to a monitor that died."""
    broker = PolledBroker(SETTINGS.broker, clock)
    enqueue(broker, 1, 2, 3)
    first, second, running = broker.lease(3)
    busy = stage.seat(Role.WORKER)
    for number, each in enumerate((first, second), 7):
        stage.board.begin(busy.row, number, time.monotonic(), 0.0, each.receipt)
        stage.board.finish(busy.row)
    stage.board.begin(busy.row, 9, time.monotonic(), 0.0, running.receipt)
    pusher = open_pusher(broker=broker, clock=clock)

    for _ in range(10):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()
    assert broker.lease(3) == []

    line = stage.line_to_pusher()
    line.send(("hello", busy.number, busy.row, [], [(8, second.receipt, 1)]))
    play(pusher.tick, until=lambda: pusher._ledger.borrowers)
    for _ in range(10):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()
    assert len(broker.lease(3)) == 1  # what it has not spoken of is no business of ours


def test_a_new_pusher_gives_what_a_worker_had_not_begun_to_whoever_asks(
    stage: Stage, open_pusher: OpenPusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1)
    (unbegun,) = broker.lease(1)
    pusher = open_pusher()
    FakeWorker(stage, waiting=[Job(8, body(1), unbegun.receipt, 1)])
    heir = FakeWorker(stage)

    heir.ask(1)
    play(pusher.tick, until=lambda: heir.jobs)

    assert ids_of(heir.jobs) == [1]


def test_a_new_pusher_hands_out_nothing_whose_lease_was_lost(
    stage: Stage, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    enqueue(broker, 1)
    (stale,) = broker.lease(1)
    clock.advance(SETTINGS.broker.lease + 1)
    (current,) = broker.lease(1)
    pusher = open_pusher(broker=broker, clock=clock)
    worker = FakeWorker(stage, waiting=[Job(8, body(1), stale.receipt, 1)])

    worker.ask(1)
    play(pusher.tick, until=lambda: pusher._ledger.wanted)
    pusher.tick()

    assert worker.jobs == []
    assert list(broker.renew([current.receipt])) == []


# ── messages that cannot be read ─────────────────────────────────────────────────────────────────


def test_a_foreign_message_is_given_back_and_put_aside_only_in_the_end(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker, monitor = PolledBroker(SETTINGS.broker, clock), Ear(reports)
    pusher = open_pusher(broker=broker, clock=clock)
    enqueue(broker, 1, codec=Codec(replace(SETTINGS.signing, secret="another")))
    enqueue(broker, 2)
    worker = FakeWorker(stage)
    worker.ask(10)
    play(pusher.tick, until=lambda: worker.jobs)

    leases = 1
    assert broker.size().delayed == 1
    while not monitor.named("outcomes"):
        clock.advance(SETTINGS.broker.lease + 1)
        leases += 1
        for _ in range(3):
            pusher.tick()
        assert leases < 10

    (outcome,) = outcomes(monitor, "outcomes")
    assert leases == PATIENCE_WITH_STRANGERS
    assert outcome.status == "rejected"
    assert outcome.attempt == leases
    assert outcome.payload is not None
    assert ids_of(worker.jobs) == [2]


def test_nonsense_is_put_aside_at_once_and_nothing_behind_it_waits(
    stage: Stage, reports: Hub, pusher: Pusher, broker: PolledBroker
) -> None:
    monitor = Ear(reports)
    broker.enqueue([Message("nonsense"), Message("")])
    enqueue(broker, 1)
    worker = FakeWorker(stage)

    worker.ask(10)
    play(pusher.tick, until=lambda: worker.jobs and len(outcomes(monitor, "outcomes")) == 2)

    assert ids_of(worker.jobs) == [1]
    assert {outcome.payload for outcome in outcomes(monitor, "outcomes")} == {"nonsense", ""}


# ── a broker that is away ────────────────────────────────────────────────────────────────────────


class Flaky(PolledBroker):
    """Away as long as the test says so."""

    away = True

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        if self.away:
            raise BrokerUnavailable("no server")
        return super().lease(limit, wait, not_after=not_after)

    def renew(self, receipts: Sequence[str]) -> Sequence[str]:
        if self.away:
            raise BrokerUnavailable("no server")
        return super().renew(receipts)


def test_when_the_broker_comes_back_work_goes_on(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Flaky(SETTINGS.broker)
    pusher = open_pusher(broker=broker)
    enqueue(broker, 1)
    worker = FakeWorker(stage)
    worker.ask(1)
    play(pusher.tick, until=lambda: pusher._outage.lasts)
    assert worker.jobs == []

    broker.away = False
    play(pusher.tick, until=lambda: worker.jobs)

    assert ids_of(worker.jobs) == [1]
    assert caplog.text.count("cannot be used") == 1


def test_after_an_outage_longer_than_the_lease_what_still_runs_is_not_lent_again(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = Flaky(SETTINGS.broker, clock)
    broker.away = False
    pusher = open_pusher(broker=broker, clock=clock)
    enqueue(broker, 1)
    busy, idle = FakeWorker(stage), FakeWorker(stage)
    busy.ask(1)
    play(pusher.tick, until=lambda: busy.jobs)
    busy.begin(busy.jobs[0])
    idle.ask(1)
    pusher.tick()

    broker.away = True
    for _ in range(17):
        clock.advance(SETTINGS.broker.lease / 12)
        pusher.tick()
    broker.away = False
    clock.advance(SETTINGS.broker.lease / 12)
    play(pusher.tick, until=lambda: not pusher._outage.lasts)

    assert (broker.size().leased, broker.size().ready, idle.jobs) == (1, 0, [])
    assert list(broker.renew([busy.jobs[0].receipt])) == []


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_gives_back_what_was_not_begun_without_an_attempt(
    stage: Stage, reports: Hub, open_pusher: OpenPusher, broker: PolledBroker
) -> None:
    pusher = open_pusher(prefetch=4)
    enqueue(broker, 1, 2, 3, 4, 5, 6)
    worker = FakeWorker(stage)
    worker.ask(3)
    play(pusher.tick, until=lambda: len(worker.jobs) == 3 and broker.size().leased == 5)
    worker.begin(worker.jobs[0])

    stage.tell_to_leave(pusher._seat)
    play(pusher.tick, until=lambda: pusher.stopping and not pusher._ledger.loans)
    pusher.tick()

    assert (broker.size().ready, broker.size().leased) == (5, 1)
    assert [waiting.attempts for waiting in broker.peek()][:5] == [0] * 5
    assert not pusher.gone
    broker.acknowledge([worker.jobs[0].receipt])
    worker.ask(0, settled=[worker.jobs[0].number])
    worker.die(code=0)
    play(pusher.tick, until=lambda: pusher.gone)


def test_a_stopping_pusher_leases_nothing_more(stage: Stage, pusher: Pusher, broker: PolledBroker) -> None:
    worker = FakeWorker(stage)
    play(pusher.tick, until=lambda: pusher._ledger.borrowers)
    stage.tell_to_leave(pusher._seat)
    play(pusher.tick, until=lambda: pusher.stopping)

    enqueue(broker, 1)
    worker.ask(1)
    for _ in range(5):
        pusher.tick()

    assert broker.size().ready == 1
    assert worker.jobs == []


def test_a_task_that_the_stop_cut_off_comes_back_and_is_no_failure(
    stage: Stage, reports: Hub, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1)
    monitor, worker = Ear(reports), FakeWorker(stage)
    worker.ask(1)
    play(pusher.tick, until=lambda: worker.jobs)
    worker.begin(worker.jobs[0])
    stage.tell_to_leave(pusher._seat)
    play(pusher.tick, until=lambda: pusher.stopping)

    worker.die(cause=Cause.SHUTDOWN)
    play(pusher.tick, until=lambda: pusher.gone)

    assert monitor.named("obituary") == []
    assert broker.size().ready == 1
