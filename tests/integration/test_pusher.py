"""The pusher over real lines: what it leases, to whom it batches it, and how it accounts for the dead."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from django_cluster.brokers.messages import Delivery, Message
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole
from django_cluster.cluster.ipc.process_row import Cause
from django_cluster.cluster.ipc.protocol import (
    Hello,
    Jobs,
    Outcomes,
    Ready,
    Recorded,
    Returned,
    WorkerHello,
    WorkerLost,
)
from django_cluster.cluster.ipc.server import IpcServer
from django_cluster.cluster.ipc.words import REVOKED
from django_cluster.cluster.roles import worker_loss
from django_cluster.cluster.roles.fetcher import MAX_FOREIGN_ATTEMPTS
from django_cluster.cluster.roles.pusher import Pusher
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, Outcome
from django_cluster.errors import BrokerUnavailable
from tests.conftest import Clock
from tests.integration.cluster_harness import (
    CODEC,
    SETTINGS,
    ClusterHarness,
    MessageLog,
    PolledBroker,
    body,
    enqueue,
    ids_of,
    take_turns,
)
from tests.integration.cluster_harness import broker as broker
from tests.integration.cluster_harness import harness as harness

OpenPusher = Callable[..., Pusher]


class FakeWorker:
    """A worker as the pusher sees it: a line, a row, and what it was given."""

    def __init__(
        self, harness: ClusterHarness, waiting: Sequence[Job] = (), unrecorded: Sequence[tuple[int, str]] = ()
    ) -> None:
        self.harness = harness
        self.incarnation: Incarnation = harness.incarnation(ProcessRole.WORKER)
        self.line: IpcClient = harness.connect_to_pusher()
        self.log = MessageLog(self.line)
        self.line.send(WorkerHello(self.incarnation.number, self.incarnation.row, list(waiting), list(unrecorded)))

    def ask(self, wanted: int, settled: Sequence[int] = ()) -> None:
        self.line.send(Ready(wanted, list(settled)))

    @property
    def jobs(self) -> list[Job]:
        return [job for message in self.log.of(Jobs) for job in message.jobs]

    def begin(self, job: Job, ago: float = 0.0) -> None:
        self.harness.board.begin_job(self.incarnation.row, job.number, time.monotonic() - ago, 0.0, job.receipt)

    def die(self, code: int = -9, cause: Cause = Cause.NONE) -> None:
        self.line.close()
        self.harness.record_exit(self.incarnation, code, cause)


@pytest.fixture
def reports(harness: ClusterHarness) -> IpcServer:
    """A monitor that only listens."""
    return harness.monitor_server()


@pytest.fixture
def open_pusher(harness: ClusterHarness, broker: PolledBroker) -> Iterator[OpenPusher]:
    opened: list[Pusher] = []

    def open_one(prefetch: int = 0, *, broker: PolledBroker = broker, **more: Any) -> Pusher:
        incarnation = harness.incarnation(ProcessRole.PUSHER)
        settings = (SETTINGS.broker, replace(SETTINGS.processes, prefetch=prefetch))
        opened.append(Pusher(incarnation, harness.board, harness.control(incarnation), broker, CODEC, settings, **more))
        return opened[-1]

    yield open_one
    for pusher in opened:
        close(pusher)


def close(pusher: Pusher) -> None:
    """As its process would, by ending."""
    pusher.close()


@pytest.fixture
def pusher(reports: IpcServer, open_pusher: OpenPusher) -> Pusher:
    return open_pusher()


def reported(log: MessageLog, kind: type[WorkerLost | Outcomes]) -> list[Outcome]:
    return [outcome for message in log.of(kind) for outcome in message.outcomes]


# ── handing out ──────────────────────────────────────────────────────────────────────────────────


def test_a_worker_gets_what_it_asked_for_in_one_message_and_no_more(
    harness: ClusterHarness, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2, 3, 4, 5)
    worker = FakeWorker(harness)

    worker.ask(3)
    take_turns(pusher.tick, until=lambda: worker.jobs)

    assert ids_of(worker.jobs) == [1, 2, 3]
    assert len(worker.log.messages) == 1
    assert (broker.size().leased, broker.size().ready) == (3, 2)


def test_who_does_not_ask_gets_nothing(harness: ClusterHarness, pusher: Pusher, broker: PolledBroker) -> None:
    enqueue(broker, 1)
    silent, requesting = FakeWorker(harness), FakeWorker(harness)

    requesting.ask(5)
    take_turns(pusher.tick, until=lambda: requesting.jobs)

    assert silent.jobs == []


def test_what_comes_later_reaches_who_has_asked_before(
    harness: ClusterHarness, pusher: Pusher, broker: PolledBroker
) -> None:
    worker = FakeWorker(harness)
    worker.ask(1)
    for _ in range(5):
        pusher.tick()

    enqueue(broker, 1)
    take_turns(pusher.tick, until=lambda: worker.jobs)

    assert ids_of(worker.jobs) == [1]


def test_jobs_are_handed_out_evenly(harness: ClusterHarness, pusher: Pusher, broker: PolledBroker) -> None:
    workers = [FakeWorker(harness) for _ in range(4)]
    for worker in workers:
        worker.ask(100)
    take_turns(pusher.tick, until=lambda: len(pusher._assignments.workers) == 4 and pusher._assignments.wanted == 400)

    enqueue(broker, *range(1, 41))
    take_turns(pusher.tick, until=lambda: sum(len(worker.jobs) for worker in workers) == 40)

    assert [len(worker.jobs) for worker in workers] == [10] * 4


def test_a_limited_cluster_holds_no_more_than_that_beyond_what_runs(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, broker: PolledBroker
) -> None:
    pusher = open_pusher(prefetch=1)
    enqueue(broker, *range(20))
    workers = [FakeWorker(harness), FakeWorker(harness)]

    for worker in workers:
        worker.ask(256)  # as a worker does that has seen quick tasks
    take_turns(pusher.tick, until=lambda: broker.size().leased == 3)
    for _ in range(5):
        pusher.tick()
    assert broker.size().leased == 3

    jobs = [job for worker in workers for job in worker.jobs]
    ran = next(worker for worker in workers if len(worker.jobs) == 2)
    ran.begin(ran.jobs[1])  # so the first of them is done
    take_turns(pusher.tick, until=lambda: broker.size().leased == 4)
    for _ in range(5):
        pusher.tick()

    assert (len(jobs), broker.size().leased) == (3, 4)


def test_beyond_what_was_asked_only_the_prefetch_is_leased(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, broker: PolledBroker
) -> None:
    pusher = open_pusher(prefetch=2)
    enqueue(broker, 1, 2, 3, 4, 5)
    worker = FakeWorker(harness)

    worker.ask(1)
    take_turns(pusher.tick, until=lambda: worker.jobs and broker.size().leased == 3)
    pusher.tick()

    assert (broker.size().leased, broker.size().ready) == (3, 2)


def test_numbers_and_attempts_travel_with_the_job(
    harness: ClusterHarness, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2)
    broker.release(broker.lease(1))
    worker = FakeWorker(harness)

    worker.ask(2)
    take_turns(pusher.tick, until=lambda: worker.jobs)

    first, second = worker.jobs
    assert (first.attempt, second.attempt) == (2, 1)
    assert first.number < second.number


# ── behind a slow task ───────────────────────────────────────────────────────────────────────────


def test_what_waits_behind_a_slow_task_goes_to_an_idle_worker(
    harness: ClusterHarness, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2, 3)
    slow = FakeWorker(harness)
    slow.ask(3)
    take_turns(pusher.tick, until=lambda: len(slow.jobs) == 3)
    slow.begin(slow.jobs[0], ago=5.0)

    idle = FakeWorker(harness)
    idle.ask(5)
    take_turns(pusher.tick, until=lambda: len(idle.jobs) == 2)

    assert ids_of(idle.jobs) == [2, 3]
    assert {job.attempt for job in idle.jobs} == {1}
    assert harness.board.get(slow.incarnation.row, REVOKED) == slow.jobs[-1].number
    assert min(job.number for job in idle.jobs) > slow.jobs[-1].number


def test_a_quick_task_keeps_what_waits_behind_it(harness: ClusterHarness, pusher: Pusher, broker: PolledBroker) -> None:
    enqueue(broker, 1, 2, 3)
    busy = FakeWorker(harness)
    busy.ask(3)
    take_turns(pusher.tick, until=lambda: len(busy.jobs) == 3)
    busy.begin(busy.jobs[0], ago=-60.0)

    idle = FakeWorker(harness)
    idle.ask(5)
    for _ in range(20):
        pusher.tick()

    assert idle.jobs == []
    assert harness.board.get(busy.incarnation.row, REVOKED) == 0


def test_what_a_worker_returns_goes_to_the_next_who_asks(
    harness: ClusterHarness, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2, 3, 4)
    leaving, next_one = FakeWorker(harness), FakeWorker(harness)
    leaving.ask(3)
    take_turns(pusher.tick, until=lambda: len(leaving.jobs) == 3)

    leaving.line.send(Returned([job.number for job in leaving.jobs[1:]]))
    next_one.ask(2)
    take_turns(pusher.tick, until=lambda: len(next_one.jobs) == 2)

    assert ids_of(next_one.jobs) == [2, 3]


# ── the dead ─────────────────────────────────────────────────────────────────────────────────────


def test_of_a_dead_worker_what_was_begun_is_reported_and_the_rest_goes_on(
    harness: ClusterHarness, reports: IpcServer, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2, 3, 4)
    monitor = MessageLog(reports)
    victim, heir = FakeWorker(harness), FakeWorker(harness)
    victim.ask(4)
    take_turns(pusher.tick, until=lambda: len(victim.jobs) == 4)
    for job in victim.jobs[:2]:
        victim.begin(job)

    victim.die()
    heir.ask(5)
    take_turns(pusher.tick, until=lambda: len(heir.jobs) == 2 and monitor.of(WorkerLost))

    outcomes = reported(monitor, WorkerLost)
    assert [int(outcome.id, 16) for outcome in outcomes] == [1, 2]
    assert {outcome.status for outcome in outcomes} == {"lost"}
    assert monitor.of(WorkerLost)[0].incarnation == victim.incarnation.number
    assert ids_of(heir.jobs) == [3, 4]
    assert {job.attempt for job in heir.jobs} == {1}


def test_what_the_worker_had_settled_is_not_reported(
    harness: ClusterHarness, reports: IpcServer, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1, 2)
    monitor = MessageLog(reports)
    victim = FakeWorker(harness)
    victim.ask(2)
    take_turns(pusher.tick, until=lambda: len(victim.jobs) == 2)
    for job in victim.jobs:
        victim.begin(job)
    victim.ask(0, settled=[victim.jobs[0].number])

    victim.die()
    take_turns(pusher.tick, until=lambda: monitor.of(WorkerLost))

    assert [int(outcome.id, 16) for outcome in reported(monitor, WorkerLost)] == [2]


def test_a_worker_killed_for_its_time_limit_is_reported_as_a_timeout(
    harness: ClusterHarness, reports: IpcServer, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1)
    monitor = MessageLog(reports)
    victim = FakeWorker(harness)
    victim.ask(1)
    take_turns(pusher.tick, until=lambda: victim.jobs)
    victim.begin(victim.jobs[0])

    victim.die(cause=Cause.TIMEOUT)
    take_turns(pusher.tick, until=lambda: monitor.of(WorkerLost))

    (outcome,) = reported(monitor, WorkerLost)
    assert outcome.status == "timeout"
    assert outcome.failure is not None
    assert outcome.failure[0] == "django_cluster.errors.TaskTimeout"


def test_an_idle_worker_dies_unnoticed(
    harness: ClusterHarness, reports: IpcServer, pusher: Pusher, broker: PolledBroker
) -> None:
    monitor = MessageLog(reports)
    victim = FakeWorker(harness)
    victim.ask(1)
    take_turns(pusher.tick, until=lambda: pusher._assignments.wanted)

    victim.die()
    take_turns(pusher.tick, until=lambda: not pusher._assignments.workers and not pusher._loss_reporter.busy)

    assert monitor.of(WorkerLost) == []
    assert pusher._assignments.wanted == 0


def test_an_obituary_waits_for_the_word_of_the_sentinel_but_not_for_ever(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, broker: PolledBroker, clock: Clock
) -> None:
    pusher = open_pusher(clock=clock)
    enqueue(broker, 1)
    monitor = MessageLog(reports)
    victim = FakeWorker(harness)
    victim.ask(1)
    take_turns(pusher.tick, until=lambda: victim.jobs)
    victim.begin(victim.jobs[0])

    victim.line.close()
    take_turns(pusher.tick, until=lambda: pusher._loss_reporter.busy)
    for _ in range(5):
        pusher.tick()
    assert monitor.of(WorkerLost) == []
    clock.advance(worker_loss.EXIT_CODE_SECONDS)
    take_turns(pusher.tick, until=lambda: monitor.of(WorkerLost))

    assert "for an unknown reason" in reported(monitor, WorkerLost)[0].failure[1]  # type: ignore[index]  # it has one


def test_a_worker_that_lost_only_its_line_is_not_taken_for_dead(
    harness: ClusterHarness, reports: IpcServer, pusher: Pusher, broker: PolledBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_loss, "EXIT_CODE_SECONDS", 0.05)
    enqueue(broker, 1, 2)
    monitor = MessageLog(reports)
    worker = FakeWorker(harness)
    worker.ask(2)
    take_turns(pusher.tick, until=lambda: len(worker.jobs) == 2)
    worker.begin(worker.jobs[0], ago=-60.0)

    worker.line.close()
    take_turns(pusher.tick, until=lambda: pusher._loss_reporter.busy)
    worker.line.connect()
    done, waiting = worker.jobs
    unrecorded = [(done.number, done.receipt)]
    worker.line.send(WorkerHello(worker.incarnation.number, worker.incarnation.row, [waiting], unrecorded))
    take_turns(pusher.tick, until=lambda: pusher._assignments.workers)
    take_turns(pusher.tick, until=lambda: not pusher._loss_reporter.busy)
    pusher.tick()

    assert monitor.of(WorkerLost) == []
    assert [message.receipt for message in pusher._assignments.unassigned] == [waiting.receipt]
    assert sorted(pusher._assignments.receipts()) == sorted([done.receipt, waiting.receipt])


def test_an_obituary_is_told_again_to_the_next_monitor_until_it_is_filed(
    harness: ClusterHarness, reports: IpcServer, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1)
    monitor = MessageLog(reports)
    victim = FakeWorker(harness)
    victim.ask(1)
    take_turns(pusher.tick, until=lambda: victim.jobs)
    victim.begin(victim.jobs[0])
    victim.die()
    take_turns(pusher.tick, until=lambda: monitor.of(WorkerLost))

    reports.close()
    successor = harness.monitor_server()
    log = MessageLog(successor)
    take_turns(pusher.tick, until=lambda: log.of(WorkerLost))
    (outcome,) = reported(log, WorkerLost)
    log.received[0].connection.send(Recorded([outcome.number]))
    take_turns(pusher.tick, until=lambda: not pusher._loss_reporter.busy)
    successor.close()
    third = MessageLog(harness.monitor_server())
    take_turns(pusher.tick, until=lambda: third.of(Hello))

    assert third.of(WorkerLost) == []


# ── leases ───────────────────────────────────────────────────────────────────────────────────────


def test_leases_are_kept_alive_while_a_job_runs_or_waits(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    pusher = open_pusher(prefetch=1, broker=broker, clock=clock)
    enqueue(broker, 1, 2)
    worker = FakeWorker(harness)
    worker.ask(1)
    take_turns(pusher.tick, until=lambda: len(worker.jobs) == 1 and broker.size().leased == 2)

    for _ in range(20):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()

    assert broker.size().leased == 2
    assert {waiting.attempts for waiting in broker.peek()} == {1}


def test_the_lost_lease_of_a_running_task_is_logged_once(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    pusher = open_pusher(broker=broker, clock=clock)
    enqueue(broker, 1)
    worker = FakeWorker(harness)
    worker.ask(1)
    take_turns(pusher.tick, until=lambda: worker.jobs)
    worker.begin(worker.jobs[0])

    broker.purge()
    for _ in range(5):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()

    assert caplog.text.count("Leases lost") == 1


def test_waiting_messages_whose_lease_was_lost_are_not_handed_out(
    harness: ClusterHarness,
    reports: IpcServer,
    open_pusher: OpenPusher,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    pusher = open_pusher(prefetch=2, broker=broker, clock=clock)
    enqueue(broker, 1, 2)
    take_turns(pusher.tick, until=lambda: broker.size().leased == 2)

    broker.purge()
    clock.advance(SETTINGS.broker.lease / 3 + 0.001)
    take_turns(pusher.tick, until=lambda: not pusher._assignments.unassigned)
    worker = FakeWorker(harness)
    worker.ask(2)
    for _ in range(5):
        pusher.tick()

    assert worker.jobs == []
    assert "0 running tasks, 2 waiting messages" in caplog.text


def test_workers_can_read_until_when_everything_is_certainly_leased(
    harness: ClusterHarness, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = Flaky(SETTINGS.broker, clock)
    broker.away = False
    pusher = open_pusher(broker=broker, clock=clock)
    enqueue(broker, 1)
    worker = FakeWorker(harness)
    worker.ask(1)
    take_turns(pusher.tick, until=lambda: worker.jobs)
    assert clock() < harness.board.leased_until < clock() + SETTINGS.broker.lease

    broker.away = True
    before = harness.board.leased_until
    clock.advance(SETTINGS.broker.lease)
    take_turns(pusher.tick, until=lambda: pusher._backoff.failing)
    assert harness.board.leased_until == before

    broker.away = False
    take_turns(lambda: clock.advance(1), pusher.tick, until=lambda: harness.board.leased_until > clock())


def test_a_new_pusher_goes_on_renewing_what_the_workers_say_they_hold(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    enqueue(broker, 1, 2)
    done, waiting = broker.lease(2)
    pusher = open_pusher(broker=broker, clock=clock)
    worker = FakeWorker(harness, waiting=[Job(8, body(2), waiting.receipt, 1)], unrecorded=[(7, done.receipt)])
    take_turns(pusher.tick, until=lambda: pusher._assignments.workers)

    for _ in range(10):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()

    assert broker.size().leased == 2
    worker.ask(1, settled=[7])
    take_turns(pusher.tick, until=lambda: worker.jobs)
    worker.ask(0, settled=[worker.jobs[0].number])
    take_turns(pusher.tick, until=lambda: not pusher._assignments.receipts())


def test_a_new_pusher_keeps_what_runs_leased_though_its_worker_has_not_called(
    harness: ClusterHarness, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    enqueue(broker, 1)
    (running,) = broker.lease(1)
    busy = harness.incarnation(ProcessRole.WORKER)
    harness.board.begin_job(busy.row, 7, time.monotonic(), 0.0, running.receipt)
    pusher = open_pusher(broker=broker, clock=clock)

    for _ in range(10):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()

    assert broker.lease(1) == []


def test_a_new_pusher_keeps_what_a_busy_worker_has_done_leased_until_it_calls(
    harness: ClusterHarness, open_pusher: OpenPusher, clock: Clock
) -> None:
    """The worker may keep the outcomes, or have sent them to a monitor that died."""
    broker = PolledBroker(SETTINGS.broker, clock)
    enqueue(broker, 1, 2, 3)
    first, second, running = broker.lease(3)
    busy = harness.incarnation(ProcessRole.WORKER)
    for number, each in enumerate((first, second), 7):
        harness.board.begin_job(busy.row, number, time.monotonic(), 0.0, each.receipt)
        harness.board.finish_job(busy.row)
    harness.board.begin_job(busy.row, 9, time.monotonic(), 0.0, running.receipt)
    pusher = open_pusher(broker=broker, clock=clock)

    for _ in range(10):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()
    assert broker.lease(3) == []

    line = harness.connect_to_pusher()
    line.send(WorkerHello(busy.number, busy.row, [], [(8, second.receipt)]))
    take_turns(pusher.tick, until=lambda: pusher._assignments.workers)
    for _ in range(10):
        clock.advance(SETTINGS.broker.lease / 3 + 0.001)
        pusher.tick()
    assert len(broker.lease(3)) == 1  # what it has not spoken of is no business of ours


def test_a_new_pusher_gives_what_a_worker_had_not_begun_to_whoever_asks(
    harness: ClusterHarness, open_pusher: OpenPusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1)
    (unbegun,) = broker.lease(1)
    pusher = open_pusher()
    FakeWorker(harness, waiting=[Job(8, body(1), unbegun.receipt, 1)])
    heir = FakeWorker(harness)

    heir.ask(1)
    take_turns(pusher.tick, until=lambda: heir.jobs)

    assert ids_of(heir.jobs) == [1]


def test_a_new_pusher_hands_out_nothing_whose_lease_was_lost(
    harness: ClusterHarness, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = PolledBroker(SETTINGS.broker, clock)
    enqueue(broker, 1)
    (stale,) = broker.lease(1)
    clock.advance(SETTINGS.broker.lease + 1)
    (current,) = broker.lease(1)
    pusher = open_pusher(broker=broker, clock=clock)
    worker = FakeWorker(harness, waiting=[Job(8, body(1), stale.receipt, 1)])

    worker.ask(1)
    take_turns(pusher.tick, until=lambda: pusher._assignments.wanted)
    pusher.tick()

    assert worker.jobs == []
    assert list(broker.renew([current.receipt])) == []


# ── messages that cannot be read ─────────────────────────────────────────────────────────────────


def test_a_foreign_message_is_given_back_and_put_aside_only_in_the_end(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker, monitor = PolledBroker(SETTINGS.broker, clock), MessageLog(reports)
    pusher = open_pusher(broker=broker, clock=clock)
    enqueue(broker, 1, codec=Codec(replace(SETTINGS.signing, secret="another")))
    enqueue(broker, 2)
    worker = FakeWorker(harness)
    worker.ask(10)
    take_turns(pusher.tick, until=lambda: worker.jobs)

    leases = 1
    assert broker.size().delayed == 1
    while not monitor.of(Outcomes):
        clock.advance(SETTINGS.broker.lease + 1)
        leases += 1
        for _ in range(3):
            pusher.tick()
        assert leases < 10

    (outcome,) = reported(monitor, Outcomes)
    assert leases == MAX_FOREIGN_ATTEMPTS
    assert outcome.status == "rejected"
    assert outcome.attempt == leases
    assert outcome.payload is not None
    assert ids_of(worker.jobs) == [2]


def test_nonsense_is_put_aside_at_once_and_nothing_behind_it_waits(
    harness: ClusterHarness, reports: IpcServer, pusher: Pusher, broker: PolledBroker
) -> None:
    monitor = MessageLog(reports)
    broker.enqueue([Message("nonsense"), Message("")])
    enqueue(broker, 1)
    worker = FakeWorker(harness)

    worker.ask(10)
    take_turns(pusher.tick, until=lambda: worker.jobs and len(reported(monitor, Outcomes)) == 2)

    assert ids_of(worker.jobs) == [1]
    assert {outcome.payload for outcome in reported(monitor, Outcomes)} == {"nonsense", ""}


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
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Flaky(SETTINGS.broker)
    pusher = open_pusher(broker=broker)
    enqueue(broker, 1)
    worker = FakeWorker(harness)
    worker.ask(1)
    take_turns(pusher.tick, until=lambda: pusher._backoff.failing)
    assert worker.jobs == []

    broker.away = False
    take_turns(pusher.tick, until=lambda: worker.jobs)

    assert ids_of(worker.jobs) == [1]
    assert caplog.text.count("unavailable") == 1


def test_after_an_outage_longer_than_the_lease_what_still_runs_is_not_lent_again(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, clock: Clock
) -> None:
    broker = Flaky(SETTINGS.broker, clock)
    broker.away = False
    pusher = open_pusher(broker=broker, clock=clock)
    enqueue(broker, 1)
    busy, idle = FakeWorker(harness), FakeWorker(harness)
    busy.ask(1)
    take_turns(pusher.tick, until=lambda: busy.jobs)
    busy.begin(busy.jobs[0])
    idle.ask(1)
    pusher.tick()

    broker.away = True
    for _ in range(17):
        clock.advance(SETTINGS.broker.lease / 12)
        pusher.tick()
    broker.away = False
    clock.advance(SETTINGS.broker.lease / 12)
    take_turns(pusher.tick, until=lambda: not pusher._backoff.failing)

    assert (broker.size().leased, broker.size().ready, idle.jobs) == (1, 0, [])
    assert list(broker.renew([busy.jobs[0].receipt])) == []


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_gives_back_what_was_not_begun_without_an_attempt(
    harness: ClusterHarness, reports: IpcServer, open_pusher: OpenPusher, broker: PolledBroker
) -> None:
    pusher = open_pusher(prefetch=4)
    enqueue(broker, 1, 2, 3, 4, 5, 6)
    worker = FakeWorker(harness)
    worker.ask(3)
    take_turns(pusher.tick, until=lambda: len(worker.jobs) == 3 and broker.size().leased == 5)
    worker.begin(worker.jobs[0])

    harness.request_stop(pusher._incarnation)
    take_turns(pusher.tick, until=lambda: pusher.stopping and not pusher._assignments.unassigned)
    pusher.tick()

    assert (broker.size().ready, broker.size().leased) == (5, 1)
    assert [waiting.attempts for waiting in broker.peek()][:5] == [0] * 5
    assert not pusher.finished
    broker.acknowledge([worker.jobs[0].receipt])
    worker.ask(0, settled=[worker.jobs[0].number])
    worker.die(code=0)
    take_turns(pusher.tick, until=lambda: pusher.finished)


def test_a_stopping_pusher_leases_nothing_more(harness: ClusterHarness, pusher: Pusher, broker: PolledBroker) -> None:
    worker = FakeWorker(harness)
    take_turns(pusher.tick, until=lambda: pusher._assignments.workers)
    harness.request_stop(pusher._incarnation)
    take_turns(pusher.tick, until=lambda: pusher.stopping)

    enqueue(broker, 1)
    worker.ask(1)
    for _ in range(5):
        pusher.tick()

    assert broker.size().ready == 1
    assert worker.jobs == []


def test_a_task_that_the_stop_cut_off_comes_back_and_is_no_failure(
    harness: ClusterHarness, reports: IpcServer, pusher: Pusher, broker: PolledBroker
) -> None:
    enqueue(broker, 1)
    monitor, worker = MessageLog(reports), FakeWorker(harness)
    worker.ask(1)
    take_turns(pusher.tick, until=lambda: worker.jobs)
    worker.begin(worker.jobs[0])
    harness.request_stop(pusher._incarnation)
    take_turns(pusher.tick, until=lambda: pusher.stopping)

    worker.die(cause=Cause.SHUTDOWN)
    take_turns(pusher.tick, until=lambda: pusher.finished)

    assert monitor.of(WorkerLost) == []
    assert broker.size().ready == 1
