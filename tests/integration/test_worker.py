"""The worker over real lines: what it asks for, what it keeps, and what it says to whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from django_cluster.cluster.ipc.incarnation import ProcessRole
from django_cluster.cluster.ipc.process_row import ProcessState, ScoreboardRow
from django_cluster.cluster.ipc.protocol import (
    Hello,
    Jobs,
    Message,
    Outcomes,
    Ready,
    Recorded,
    Returned,
    Stopping,
    WorkerHello,
)
from django_cluster.cluster.ipc.server import IpcServer, Received
from django_cluster.cluster.ipc.words import REVOKED
from django_cluster.cluster.roles import worker as module
from django_cluster.cluster.roles.prefetch import PrefetchWindow
from django_cluster.cluster.roles.worker import Worker
from django_cluster.core.messages import Job, Outcome
from django_cluster.core.sealed_rows import result_context
from django_cluster.core.signing import ValueSigner
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from tests.fields import fields
from tests.integration.cluster_harness import CODEC, SETTINGS, ClusterHarness, MessageLog, body, take_turns
from tests.integration.cluster_harness import harness as harness

HERE = __name__
OpenWorker = Callable[..., Worker]


# ── tasks of these tests ─────────────────────────────────────────────────────────────────────────

current: list[tuple[ClusterHarness, int]] = []
rows: list[ScoreboardRow] = []


def look_at_own_row(*_: Any) -> None:
    harness, row = current[0]
    rows.append(harness.board.read(row))


def take_a_while(*_: Any) -> None:
    end = time.monotonic() + 2 * PrefetchWindow.TARGET_SECONDS
    while time.monotonic() < end:
        pass


last_words: list[Callable[[], Any]] = []


def die_and_take_a_while(*_: Any) -> None:
    for word in last_words:
        word()
    take_a_while()


# ── the other roles ──────────────────────────────────────────────────────────────────────────────


class FakeServer:
    """A pusher or a monitor, played by the test; it knows one worker."""

    def __init__(self, server: IpcServer) -> None:
        self.server = server
        self.log = MessageLog(server)

    @property
    def received(self) -> list[Received]:
        self.log.read()
        return self.log.received

    def send(self, message: Message) -> None:
        self.received[-1].connection.send(message)

    def hand_out(self, *jobs: Job) -> None:
        self.send(Jobs(list(jobs)))

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for message in self.log.of(Outcomes) for outcome in message.outcomes]

    @property
    def wanted(self) -> int:
        return sum(message.wanted for message in self.log.of(Ready))

    @property
    def settled(self) -> list[int]:
        return [number for message in self.log.of(Ready) for number in message.recorded]


@pytest.fixture
def pusher(harness: ClusterHarness) -> FakeServer:
    return FakeServer(harness.pusher_server())


@pytest.fixture
def monitor(harness: ClusterHarness) -> FakeServer:
    return FakeServer(harness.monitor_server())


@pytest.fixture
def open_worker(harness: ClusterHarness) -> Iterator[OpenWorker]:
    opened: list[Worker] = []

    def open_one(clean_up: Callable[[], None] = lambda: None, timeout: float | None = None, **crew: Any) -> Worker:
        incarnation = harness.incarnation(ProcessRole.WORKER)
        executor = Executor(
            CODEC, ValueSigner(SETTINGS.signing.secret), ErrorReporters({}), timeout=timeout, worker="worker 1"
        )
        settings = replace(SETTINGS.processes, **{"recycle": 0, **crew})
        opened.append(
            Worker(incarnation, harness.board, harness.control(incarnation), executor, settings, clean_up=clean_up)
        )
        current[:] = [(harness, incarnation.row)]
        rows.clear()
        return opened[-1]

    yield open_one
    for worker in opened:
        worker._pusher.close()
        worker._monitor.close()


@pytest.fixture
def worker(pusher: FakeServer, monitor: FakeServer, open_worker: OpenWorker) -> Worker:
    """A worker that has called both and asked for work."""
    worker = open_worker()
    take_turns(worker.tick, until=lambda: pusher.wanted and monitor.received)
    return worker


def job(number: int, func: str = "tests.sample.tasks.echo", **options: Any) -> Job:
    return Job(number, body(number, func, **options), f"receipt {number}", 1)


def jobs(*numbers: int) -> list[Job]:
    return [job(number) for number in numbers]


def numbers_of(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.number for outcome in outcomes]


# ── work ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_worker_says_who_it_is_and_asks_for_one(worker: Worker, pusher: FakeServer, monitor: FakeServer) -> None:
    incarnation = worker._incarnation

    assert pusher.log.messages == [WorkerHello(incarnation.number, incarnation.row, [], []), Ready(1, [])]
    assert monitor.log.messages == [Hello(incarnation.number)]


def test_a_job_is_run_and_its_outcome_sent(worker: Worker, pusher: FakeServer, monitor: FakeServer) -> None:
    pusher.hand_out(job(7))
    take_turns(worker.tick, until=lambda: monitor.outcomes)

    (outcome,) = monitor.outcomes
    assert fields(outcome, "number", "receipt", "status") == {"number": 7, "receipt": "receipt 7", "status": "success"}
    assert ValueSigner(SETTINGS.signing.secret).loads(outcome.result, result_context(outcome.id)) == ((7,), {})


def test_jobs_are_run_in_their_order(worker: Worker, pusher: FakeServer, monitor: FakeServer) -> None:
    pusher.hand_out(*jobs(3, 4, 5, 6))
    take_turns(worker.tick, until=lambda: len(monitor.outcomes) == 4)

    assert numbers_of(monitor.outcomes) == [3, 4, 5, 6]


def test_what_was_filed_is_said_to_the_pusher_so_that_it_need_not_be_kept_alive(
    worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    pusher.hand_out(job(7))
    take_turns(worker.tick, until=lambda: monitor.outcomes)
    assert pusher.settled == []

    monitor.send(Recorded([7]))
    take_turns(worker.tick, until=lambda: pusher.settled)

    assert pusher.settled == [7]
    assert worker._unrecorded == {}


def test_who_runs_quick_tasks_asks_for_more_of_them(worker: Worker, pusher: FakeServer, monitor: FakeServer) -> None:
    given, largest = 0, 0

    def caught_up() -> bool:
        return len(monitor.outcomes) == given and pusher.wanted > given

    while pusher.wanted < 200:
        more = range(given + 1, pusher.wanted + 1)
        given = pusher.wanted
        pusher.hand_out(*jobs(*more))
        take_turns(worker.tick, until=caught_up)
        monitor.send(Recorded(list(more)))
        largest = max(largest, worker._prefetch.size)

    assert largest > 10  # one task that takes long, on a busy machine, shuts the window again


def test_a_worker_never_asks_for_more_than_its_window(worker: Worker, pusher: FakeServer, monitor: FakeServer) -> None:
    for _ in range(10):
        worker.tick()

    assert pusher.wanted == 1


def test_while_a_task_runs_its_row_says_so_and_until_when(
    pusher: FakeServer, monitor: FakeServer, open_worker: OpenWorker
) -> None:
    worker = open_worker(timeout=60.0)
    take_turns(worker.tick, until=lambda: pusher.wanted and monitor.received)

    pusher.hand_out(job(7, f"{HERE}.look_at_own_row"))
    take_turns(worker.tick, until=lambda: monitor.outcomes)

    (row,) = rows
    assert fields(row, "state", "running", "begun") == {"state": ProcessState.BUSY, "running": 7, "begun": 7}
    assert 59 < row.deadline - row.started <= 61
    after = worker._board.read(worker._incarnation.row)
    assert fields(after, "state", "running", "begun", "done", "deadline") == {
        "state": ProcessState.IDLE,
        "running": 0,
        "begun": 7,
        "done": 1,
        "deadline": 0.0,
    }


def test_a_task_without_a_limit_has_no_deadline(worker: Worker, pusher: FakeServer, monitor: FakeServer) -> None:
    pusher.hand_out(job(7, f"{HERE}.look_at_own_row"))
    take_turns(worker.tick, until=lambda: monitor.outcomes)

    assert rows[0].deadline == 0.0


def test_after_each_task_is_tidied_up(pusher: FakeServer, monitor: FakeServer, open_worker: OpenWorker) -> None:
    tidied: list[bool] = []
    worker = open_worker(clean_up=lambda: tidied.append(True))
    take_turns(worker.tick, until=lambda: pusher.wanted and monitor.received)

    pusher.hand_out(job(1), job(2, "tests.sample.tasks.no_such_task"), job(3))
    take_turns(worker.tick, until=lambda: len(monitor.outcomes) == 3)

    assert len(tidied) == 3


# ── who is replaced ──────────────────────────────────────────────────────────────────────────────


def test_a_new_monitor_is_sent_what_was_not_filed(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    pusher.hand_out(*jobs(1, 2, 3))
    take_turns(worker.tick, until=lambda: len(monitor.outcomes) == 3)
    monitor.send(Recorded([1]))
    take_turns(worker.tick, until=lambda: len(worker._unrecorded) == 2)

    monitor.server.close()
    successor = FakeServer(harness.monitor_server())
    take_turns(worker.tick, until=lambda: len(successor.outcomes) == 2)

    assert successor.log.messages[0] == Hello(worker._incarnation.number)
    assert numbers_of(successor.outcomes) == [2, 3]


def test_a_worker_goes_on_working_while_there_is_no_monitor(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    monitor.server.close()
    pusher.hand_out(*jobs(1, 2))
    take_turns(worker.tick, until=lambda: len(worker._unrecorded) == 2)

    successor = FakeServer(harness.monitor_server())
    take_turns(worker.tick, until=lambda: len(successor.outcomes) == 2)


def test_a_new_pusher_is_told_what_is_held_and_asked_again(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    pusher.hand_out(job(1), job(2, f"{HERE}.take_a_while"), *jobs(3, 4))
    take_turns(worker.tick, until=lambda: len(worker._queue) == 2)

    pusher.server.close()
    successor = FakeServer(harness.pusher_server())
    take_turns(worker.tick, until=lambda: successor.log.of(WorkerHello))

    ((incarnation, row, waiting, unrecorded),) = successor.log.of(WorkerHello)
    assert (incarnation, row) == (worker._incarnation.number, worker._incarnation.row)
    assert [each[0] for each in waiting] == [3, 4]
    assert {receipt for _, receipt in unrecorded} == {"receipt 1", "receipt 2"}
    take_turns(worker.tick, until=lambda: len(monitor.outcomes) == 2 and successor.wanted)


def check_that_two_and_three_are_offered_and_not_run(
    harness: ClusterHarness, worker: Worker, monitor: FakeServer
) -> None:
    for _ in range(20):
        worker.tick()
    assert numbers_of(monitor.outcomes) == [1]

    successor = FakeServer(harness.pusher_server())
    take_turns(worker.tick, until=lambda: successor.log.of(WorkerHello))
    ((_, _, waiting, _),) = successor.log.of(WorkerHello)
    assert [each[0] for each in waiting] == [2, 3]
    worker.tick()
    assert numbers_of(monitor.outcomes) == [1]


def test_a_worker_whose_pusher_died_under_a_long_task_runs_nothing_more_before_the_next_has_looked(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    """The leases of what waits may have ended meanwhile: others may have run it."""
    pusher.hand_out(job(1, f"{HERE}.take_a_while"), *jobs(2, 3))
    take_turns(worker.tick, until=lambda: len(worker._queue) == 2)
    pusher.server.close()

    check_that_two_and_three_are_offered_and_not_run(harness, worker, monitor)


def test_what_a_pusher_has_said_before_it_died_under_a_long_task_is_not_run_either(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONG_TASK_SECONDS", PrefetchWindow.TARGET_SECONDS)
    pusher.hand_out(job(1, f"{HERE}.die_and_take_a_while"))
    last_words[:] = [lambda: pusher.hand_out(*jobs(2, 3)), pusher.server.close]

    check_that_two_and_three_are_offered_and_not_run(harness, worker, monitor)


def test_what_the_last_pusher_had_taken_back_is_not_given_to_the_next(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    pusher.hand_out(job(1, f"{HERE}.take_a_while"), *jobs(2, 3, 4))
    take_turns(worker.tick, until=lambda: len(worker._queue) == 3)
    pusher.server.close()
    harness.board.set(worker._incarnation.row, REVOKED, 3)

    successor = FakeServer(harness.pusher_server())
    take_turns(worker.tick, until=lambda: successor.log.of(WorkerHello))

    ((_, _, waiting, _),) = successor.log.of(WorkerHello)
    assert [each[0] for each in waiting] == [4]


# ── giving back ──────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_was_revoked_is_returned_and_not_run(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    harness.board.set(worker._incarnation.row, REVOKED, 8)

    pusher.hand_out(*jobs(7, 8))
    take_turns(worker.tick, until=lambda: pusher.log.of(Returned))

    assert pusher.log.of(Returned) == [Returned([7, 8])]
    assert monitor.outcomes == []
    assert harness.board.read(worker._incarnation.row).done == 0


def test_a_job_whose_lease_may_have_ended_is_returned_and_not_run(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    """The whole cluster has been paused: another may be running the job by now."""
    harness.board.set_leased_until(time.monotonic())

    pusher.hand_out(*jobs(1, 2))
    take_turns(worker.tick, until=lambda: pusher.log.of(Returned))
    harness.board.set_leased_until(time.monotonic() + 60)
    pusher.hand_out(job(3))
    take_turns(worker.tick, until=lambda: monitor.outcomes)

    assert pusher.log.of(Returned) == [Returned([1, 2])]
    assert numbers_of(monitor.outcomes) == [3]


def test_jobs_handed_out_after_a_revocation_are_run(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    harness.board.set(worker._incarnation.row, REVOKED, 8)

    pusher.hand_out(job(9))
    take_turns(worker.tick, until=lambda: monitor.outcomes)

    assert numbers_of(monitor.outcomes) == [9]


def test_told_to_leave_a_worker_returns_what_it_has_not_begun_and_waits_until_all_is_filed(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    pusher.hand_out(job(1, f"{HERE}.take_a_while"), *jobs(2, 3))
    harness.request_stop(worker._incarnation)
    take_turns(worker.tick, until=lambda: pusher.log.of(Stopping) and monitor.outcomes)

    assert numbers_of(monitor.outcomes) == [1]
    assert pusher.log.of(Returned) == [Returned([2, 3])]
    assert not worker.finished
    monitor.send(Recorded([1]))
    take_turns(worker.tick, until=lambda: worker.finished)


def test_an_idle_worker_that_is_told_to_leave_leaves(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer
) -> None:
    harness.request_stop(worker._incarnation)

    take_turns(worker.tick, until=lambda: worker.finished)

    assert pusher.log.of(Returned) == []


def test_a_leaving_worker_asks_for_nothing_more(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    pusher.hand_out(job(1))
    harness.request_stop(worker._incarnation)
    take_turns(worker.tick, until=lambda: pusher.log.of(Stopping) and monitor.outcomes)
    before = pusher.wanted

    for _ in range(5):
        worker.tick()

    assert pusher.wanted == before


def test_a_job_that_was_under_way_to_a_leaving_worker_is_still_run(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    harness.request_stop(worker._incarnation)
    take_turns(worker.tick, until=lambda: pusher.log.of(Stopping))

    pusher.hand_out(job(1))
    worker._receive()
    take_turns(worker.tick, until=lambda: monitor.outcomes)

    assert numbers_of(monitor.outcomes) == [1]


def test_an_orphaned_worker_leaves_without_waiting_to_be_filed(
    harness: ClusterHarness, worker: Worker, pusher: FakeServer, monitor: FakeServer
) -> None:
    pusher.hand_out(job(1))
    take_turns(worker.tick, until=lambda: monitor.outcomes)

    harness.orphan(worker._incarnation)
    take_turns(worker.tick, until=lambda: worker.finished)

    assert worker._unrecorded


# ── enough ───────────────────────────────────────────────────────────────────────────────────────


def test_after_enough_tasks_a_worker_leaves_and_asks_for_no_more_than_it_will_run(
    pusher: FakeServer, monitor: FakeServer, open_worker: OpenWorker
) -> None:
    worker = open_worker(recycle=3)
    for number in range(1, 4):
        take_turns(worker.tick, until=lambda number=number: pusher.wanted >= number and monitor.received)  # type: ignore[misc]
        pusher.hand_out(job(number))
    take_turns(worker.tick, until=lambda: len(monitor.outcomes) == 3)
    monitor.send(Recorded([1, 2, 3]))

    take_turns(worker.tick, until=lambda: worker.finished)

    assert pusher.wanted == 3


def test_workers_do_not_all_leave_at_once() -> None:
    lifetimes = {module._tasks_until_restart(100) for _ in range(1000)}

    assert lifetimes <= set(range(90, 101))
    assert len(lifetimes) > 5
    assert module._tasks_until_restart(0) > 10**9


def test_a_worker_that_holds_too_much_memory_leaves_after_its_task(
    pusher: FakeServer, monitor: FakeServer, open_worker: OpenWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    worker = open_worker(max_rss=1)
    take_turns(worker.tick, until=lambda: pusher.wanted and monitor.received)

    pusher.hand_out(job(1))
    take_turns(worker.tick, until=lambda: monitor.outcomes)
    monitor.send(Recorded([1]))
    take_turns(worker.tick, until=lambda: worker.finished)

    assert "max_rss" in caplog.text


def test_a_worker_that_stays_because_nobody_files_asks_for_work_again(
    pusher: FakeServer, monitor: FakeServer, open_worker: OpenWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECORDING_OVERDUE_SECONDS", 0.0)
    worker = open_worker(max_rss=1)
    take_turns(worker.tick, until=lambda: pusher.wanted and monitor.received)
    worker._prefetch.size = 8
    take_turns(worker.tick, until=lambda: pusher.wanted == 8)

    pusher.hand_out(job(1))
    take_turns(worker.tick, until=lambda: pusher.log.of(Stopping))

    take_turns(worker.tick, until=lambda: pusher.log.of(Ready)[-1].wanted == 1)


def test_a_worker_holds_only_so_many_outcomes_that_nobody_files(
    worker: Worker, pusher: FakeServer, monitor: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNRECORDED", 5)
    pusher.hand_out(*jobs(*range(1, 11)))
    take_turns(worker.tick, until=lambda: len(monitor.outcomes) == 5)
    for _ in range(10):
        worker.tick()
    assert len(monitor.outcomes) == 5

    monitor.send(Recorded([1, 2, 3, 4, 5]))
    take_turns(worker.tick, until=lambda: len(monitor.outcomes) == 10)

    assert numbers_of(monitor.outcomes) == list(range(1, 11))
