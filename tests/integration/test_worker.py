"""The worker over real lines: what it asks for, what it keeps, and what it says to whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from django_cluster.cluster import worker as module
from django_cluster.cluster.scoreboard import REVOKED, Row, State
from django_cluster.cluster.seat import Role
from django_cluster.cluster.window import Window
from django_cluster.cluster.wire import Heard, Hub
from django_cluster.cluster.worker import Worker
from django_cluster.core.messages import Job, Outcome
from django_cluster.core.sealed_rows import result_context
from django_cluster.core.sealing import Seal
from django_cluster.lifecycle.execute import Executor
from django_cluster.lifecycle.reporters import Reporters
from tests.integration.stage import CODEC, SETTINGS, Ear, Stage, body, play
from tests.integration.stage import stage as stage

HERE = __name__
OpenWorker = Callable[..., Worker]


# ── tasks of these tests ─────────────────────────────────────────────────────────────────────────

on_stage: list[tuple[Stage, int]] = []
rows: list[Row] = []


def look_at_own_row(*_: Any) -> None:
    stage, row = on_stage[0]
    rows.append(stage.board.read(row))


def take_a_while(*_: Any) -> None:
    end = time.monotonic() + 2 * Window.PATIENCE
    while time.monotonic() < end:
        pass


last_words: list[Callable[[], Any]] = []


def die_and_take_a_while(*_: Any) -> None:
    for word in last_words:
        word()
    take_a_while()


# ── the other roles ──────────────────────────────────────────────────────────────────────────────


class FakeHub:
    """A pusher or a monitor, played by the test; it knows one worker."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.ear = Ear(hub)

    @property
    def heard(self) -> list[Heard]:
        self.ear.listen()
        return self.ear.heard

    def say(self, *words: Any) -> None:
        self.heard[-1].peer.send(words)

    def hand_out(self, *jobs: Job) -> None:
        self.say("jobs", [tuple(job) for job in jobs])

    @property
    def outcomes(self) -> list[Outcome]:
        return [Outcome(*values) for _, sent in self.ear.named("outcomes") for values in sent]

    @property
    def wanted(self) -> int:
        return sum(wanted for _, wanted, _ in self.ear.named("ready"))

    @property
    def settled(self) -> list[int]:
        return [number for _, _, settled in self.ear.named("ready") for number in settled]


@pytest.fixture
def pusher(stage: Stage) -> FakeHub:
    return FakeHub(stage.hub_of_pusher())


@pytest.fixture
def monitor(stage: Stage) -> FakeHub:
    return FakeHub(stage.hub_of_monitor())


@pytest.fixture
def open_worker(stage: Stage) -> Iterator[OpenWorker]:
    opened: list[Worker] = []

    def open_one(tidy: Callable[[], None] = lambda: None, timeout: float | None = None, **crew: Any) -> Worker:
        seat = stage.seat(Role.WORKER)
        executor = Executor(CODEC, Seal(SETTINGS.signing.secret), Reporters({}), timeout=timeout, worker="worker 1")
        settings = replace(SETTINGS.crew, **{"recycle": 0, **crew})
        opened.append(Worker(seat, stage.board, stage.orders(seat), executor, settings, tidy=tidy))
        on_stage[:] = [(stage, seat.row)]
        rows.clear()
        return opened[-1]

    yield open_one
    for worker in opened:
        worker._jobs.close()
        worker._reports.close()


@pytest.fixture
def worker(pusher: FakeHub, monitor: FakeHub, open_worker: OpenWorker) -> Worker:
    """A worker that has called both and asked for work."""
    worker = open_worker()
    play(worker.tick, until=lambda: pusher.wanted and monitor.heard)
    return worker


def job(number: int, func: str = "tests.sample.tasks.echo", **options: Any) -> Job:
    return Job(number, body(number, func, **options), f"receipt {number}", 1)


def jobs(*numbers: int) -> list[Job]:
    return [job(number) for number in numbers]


def numbers_of(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.number for outcome in outcomes]


# ── work ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_worker_says_who_it_is_and_asks_for_one(worker: Worker, pusher: FakeHub, monitor: FakeHub) -> None:
    seat = worker._seat

    assert pusher.ear.words == [("hello", seat.number, seat.row, [], []), ("ready", 1, [])]
    assert monitor.ear.words == [("hello", seat.number)]


def test_a_job_is_run_and_its_outcome_sent(worker: Worker, pusher: FakeHub, monitor: FakeHub) -> None:
    pusher.hand_out(job(7))
    play(worker.tick, until=lambda: monitor.outcomes)

    (outcome,) = monitor.outcomes
    assert (outcome.number, outcome.receipt, outcome.status) == (7, "receipt 7", "success")
    assert Seal(SETTINGS.signing.secret).open(outcome.result, result_context(outcome.id)) == ((7,), {})


def test_jobs_are_run_in_their_order(worker: Worker, pusher: FakeHub, monitor: FakeHub) -> None:
    pusher.hand_out(*jobs(3, 4, 5, 6))
    play(worker.tick, until=lambda: len(monitor.outcomes) == 4)

    assert numbers_of(monitor.outcomes) == [3, 4, 5, 6]


def test_what_was_filed_is_said_to_the_pusher_so_that_it_need_not_be_kept_alive(
    worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    pusher.hand_out(job(7))
    play(worker.tick, until=lambda: monitor.outcomes)
    assert pusher.settled == []

    monitor.say("filed", [7])
    play(worker.tick, until=lambda: pusher.settled)

    assert pusher.settled == [7]
    assert worker._unfiled == {}


def test_who_runs_quick_tasks_asks_for_more_of_them(worker: Worker, pusher: FakeHub, monitor: FakeHub) -> None:
    given, largest = 0, 0

    def caught_up() -> bool:
        return len(monitor.outcomes) == given and pusher.wanted > given

    while pusher.wanted < 200:
        more = range(given + 1, pusher.wanted + 1)
        given = pusher.wanted
        pusher.hand_out(*jobs(*more))
        play(worker.tick, until=caught_up)
        monitor.say("filed", list(more))
        largest = max(largest, worker._window.size)

    assert largest > 10  # one task that takes long, on a busy machine, shuts the window again


def test_a_worker_never_asks_for_more_than_its_window(worker: Worker, pusher: FakeHub, monitor: FakeHub) -> None:
    for _ in range(10):
        worker.tick()

    assert pusher.wanted == 1


def test_while_a_task_runs_its_row_says_so_and_until_when(
    pusher: FakeHub, monitor: FakeHub, open_worker: OpenWorker
) -> None:
    worker = open_worker(timeout=60.0)
    play(worker.tick, until=lambda: pusher.wanted and monitor.heard)

    pusher.hand_out(job(7, f"{HERE}.look_at_own_row"))
    play(worker.tick, until=lambda: monitor.outcomes)

    (row,) = rows
    assert (row.state, row.running, row.begun) == (State.BUSY, 7, 7)
    assert 59 < row.deadline - row.started <= 61
    after = worker._board.read(worker._seat.row)
    assert (after.state, after.running, after.begun, after.done, after.deadline) == (State.IDLE, 0, 7, 1, 0.0)


def test_a_task_without_a_limit_has_no_deadline(worker: Worker, pusher: FakeHub, monitor: FakeHub) -> None:
    pusher.hand_out(job(7, f"{HERE}.look_at_own_row"))
    play(worker.tick, until=lambda: monitor.outcomes)

    assert rows[0].deadline == 0.0


def test_after_each_task_is_tidied_up(pusher: FakeHub, monitor: FakeHub, open_worker: OpenWorker) -> None:
    tidied: list[bool] = []
    worker = open_worker(tidy=lambda: tidied.append(True))
    play(worker.tick, until=lambda: pusher.wanted and monitor.heard)

    pusher.hand_out(job(1), job(2, "tests.sample.tasks.no_such_task"), job(3))
    play(worker.tick, until=lambda: len(monitor.outcomes) == 3)

    assert len(tidied) == 3


# ── who is replaced ──────────────────────────────────────────────────────────────────────────────


def test_a_new_monitor_is_sent_what_was_not_filed(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    pusher.hand_out(*jobs(1, 2, 3))
    play(worker.tick, until=lambda: len(monitor.outcomes) == 3)
    monitor.say("filed", [1])
    play(worker.tick, until=lambda: len(worker._unfiled) == 2)

    monitor.hub.close()
    successor = FakeHub(stage.hub_of_monitor())
    play(worker.tick, until=lambda: len(successor.outcomes) == 2)

    assert successor.ear.words[0] == ("hello", worker._seat.number)
    assert numbers_of(successor.outcomes) == [2, 3]


def test_a_worker_goes_on_working_while_there_is_no_monitor(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    monitor.hub.close()
    pusher.hand_out(*jobs(1, 2))
    play(worker.tick, until=lambda: len(worker._unfiled) == 2)

    successor = FakeHub(stage.hub_of_monitor())
    play(worker.tick, until=lambda: len(successor.outcomes) == 2)


def test_a_new_pusher_is_told_what_is_held_and_asked_again(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    pusher.hand_out(job(1), job(2, f"{HERE}.take_a_while"), *jobs(3, 4))
    play(worker.tick, until=lambda: len(worker._queue) == 2)

    pusher.hub.close()
    successor = FakeHub(stage.hub_of_pusher())
    play(worker.tick, until=lambda: successor.ear.named("hello"))

    ((_, seat, row, waiting, held),) = successor.ear.named("hello")
    assert (seat, row) == (worker._seat.number, worker._seat.row)
    assert [each[0] for each in waiting] == [3, 4]
    assert {receipt for _, receipt, _ in held} == {"receipt 1", "receipt 2"}
    play(worker.tick, until=lambda: len(monitor.outcomes) == 2 and successor.wanted)


def check_that_two_and_three_are_offered_and_not_run(stage: Stage, worker: Worker, monitor: FakeHub) -> None:
    for _ in range(20):
        worker.tick()
    assert numbers_of(monitor.outcomes) == [1]

    successor = FakeHub(stage.hub_of_pusher())
    play(worker.tick, until=lambda: successor.ear.named("hello"))
    ((_, _, _, waiting, _),) = successor.ear.named("hello")
    assert [each[0] for each in waiting] == [2, 3]
    worker.tick()
    assert numbers_of(monitor.outcomes) == [1]


def test_a_worker_whose_pusher_died_under_a_long_task_runs_nothing_more_before_the_next_has_looked(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    """The leases of what waits may have ended meanwhile: others may have run it."""
    pusher.hand_out(job(1, f"{HERE}.take_a_while"), *jobs(2, 3))
    play(worker.tick, until=lambda: len(worker._queue) == 2)
    pusher.hub.close()

    check_that_two_and_three_are_offered_and_not_run(stage, worker, monitor)


def test_what_a_pusher_has_said_before_it_died_under_a_long_task_is_not_run_either(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONG", Window.PATIENCE)
    pusher.hand_out(job(1, f"{HERE}.die_and_take_a_while"))
    last_words[:] = [lambda: pusher.hand_out(*jobs(2, 3)), pusher.hub.close]

    check_that_two_and_three_are_offered_and_not_run(stage, worker, monitor)


def test_what_the_last_pusher_had_taken_back_is_not_given_to_the_next(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    pusher.hand_out(job(1, f"{HERE}.take_a_while"), *jobs(2, 3, 4))
    play(worker.tick, until=lambda: len(worker._queue) == 3)
    pusher.hub.close()
    stage.board.set(worker._seat.row, REVOKED, 3)

    successor = FakeHub(stage.hub_of_pusher())
    play(worker.tick, until=lambda: successor.ear.named("hello"))

    ((_, _, _, waiting, _),) = successor.ear.named("hello")
    assert [each[0] for each in waiting] == [4]


# ── giving back ──────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_was_revoked_is_returned_and_not_run(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    stage.board.set(worker._seat.row, REVOKED, 8)

    pusher.hand_out(*jobs(7, 8))
    play(worker.tick, until=lambda: pusher.ear.named("returned"))

    assert pusher.ear.named("returned") == [("returned", [7, 8])]
    assert monitor.outcomes == []
    assert stage.board.read(worker._seat.row).done == 0


def test_a_job_whose_lease_may_have_ended_is_returned_and_not_run(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    """The whole cluster has been paused: another may be running the job by now."""
    stage.board.set_leased_until(time.monotonic())

    pusher.hand_out(*jobs(1, 2))
    play(worker.tick, until=lambda: pusher.ear.named("returned"))
    stage.board.set_leased_until(time.monotonic() + 60)
    pusher.hand_out(job(3))
    play(worker.tick, until=lambda: monitor.outcomes)

    assert pusher.ear.named("returned") == [("returned", [1, 2])]
    assert numbers_of(monitor.outcomes) == [3]


def test_jobs_handed_out_after_a_revocation_are_run(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    stage.board.set(worker._seat.row, REVOKED, 8)

    pusher.hand_out(job(9))
    play(worker.tick, until=lambda: monitor.outcomes)

    assert numbers_of(monitor.outcomes) == [9]


def test_told_to_leave_a_worker_returns_what_it_has_not_begun_and_waits_until_all_is_filed(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    pusher.hand_out(job(1, f"{HERE}.take_a_while"), *jobs(2, 3))
    stage.tell_to_leave(worker._seat)
    play(worker.tick, until=lambda: pusher.ear.named("leaving") and monitor.outcomes)

    assert numbers_of(monitor.outcomes) == [1]
    assert pusher.ear.named("returned") == [("returned", [2, 3])]
    assert not worker.gone
    monitor.say("filed", [1])
    play(worker.tick, until=lambda: worker.gone)


def test_an_idle_worker_that_is_told_to_leave_leaves(stage: Stage, worker: Worker, pusher: FakeHub) -> None:
    stage.tell_to_leave(worker._seat)

    play(worker.tick, until=lambda: worker.gone)

    assert pusher.ear.named("returned") == []


def test_a_leaving_worker_asks_for_nothing_more(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    pusher.hand_out(job(1))
    stage.tell_to_leave(worker._seat)
    play(worker.tick, until=lambda: pusher.ear.named("leaving") and monitor.outcomes)
    before = pusher.wanted

    for _ in range(5):
        worker.tick()

    assert pusher.wanted == before


def test_a_job_that_was_under_way_to_a_leaving_worker_is_still_run(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    stage.tell_to_leave(worker._seat)
    play(worker.tick, until=lambda: pusher.ear.named("leaving"))

    pusher.hand_out(job(1))
    worker._listen()
    play(worker.tick, until=lambda: monitor.outcomes)

    assert numbers_of(monitor.outcomes) == [1]


def test_an_orphaned_worker_leaves_without_waiting_to_be_filed(
    stage: Stage, worker: Worker, pusher: FakeHub, monitor: FakeHub
) -> None:
    pusher.hand_out(job(1))
    play(worker.tick, until=lambda: monitor.outcomes)

    stage.orphan(worker._seat)
    play(worker.tick, until=lambda: worker.gone)

    assert worker._unfiled


# ── enough ───────────────────────────────────────────────────────────────────────────────────────


def test_after_enough_tasks_a_worker_leaves_and_asks_for_no_more_than_it_will_run(
    pusher: FakeHub, monitor: FakeHub, open_worker: OpenWorker
) -> None:
    worker = open_worker(recycle=3)
    for number in range(1, 4):
        play(worker.tick, until=lambda number=number: pusher.wanted >= number and monitor.heard)  # type: ignore[misc]
        pusher.hand_out(job(number))
    play(worker.tick, until=lambda: len(monitor.outcomes) == 3)
    monitor.say("filed", [1, 2, 3])

    play(worker.tick, until=lambda: worker.gone)

    assert pusher.wanted == 3


def test_workers_do_not_all_leave_at_once() -> None:
    lifetimes = {module._lifetime(100) for _ in range(1000)}

    assert lifetimes <= set(range(90, 101))
    assert len(lifetimes) > 5
    assert module._lifetime(0) > 10**9


def test_a_worker_that_holds_too_much_memory_leaves_after_its_task(
    pusher: FakeHub, monitor: FakeHub, open_worker: OpenWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    worker = open_worker(max_rss=1)
    play(worker.tick, until=lambda: pusher.wanted and monitor.heard)

    pusher.hand_out(job(1))
    play(worker.tick, until=lambda: monitor.outcomes)
    monitor.say("filed", [1])
    play(worker.tick, until=lambda: worker.gone)

    assert "max_rss" in caplog.text


def test_a_worker_that_stays_because_nobody_files_asks_for_work_again(
    pusher: FakeHub, monitor: FakeHub, open_worker: OpenWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK", 0.0)
    worker = open_worker(max_rss=1)
    play(worker.tick, until=lambda: pusher.wanted and monitor.heard)
    worker._window.size = 8
    play(worker.tick, until=lambda: pusher.wanted == 8)

    pusher.hand_out(job(1))
    play(worker.tick, until=lambda: pusher.ear.named("leaving"))

    play(worker.tick, until=lambda: pusher.ear.listen()[-1][:2] == ("ready", 1))


def test_a_worker_holds_only_so_many_outcomes_that_nobody_files(
    worker: Worker, pusher: FakeHub, monitor: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNFILED", 5)
    pusher.hand_out(*jobs(*range(1, 11)))
    play(worker.tick, until=lambda: len(monitor.outcomes) == 5)
    for _ in range(10):
        worker.tick()
    assert len(monitor.outcomes) == 5

    monitor.say("filed", [1, 2, 3, 4, 5])
    play(worker.tick, until=lambda: len(monitor.outcomes) == 10)

    assert numbers_of(monitor.outcomes) == list(range(1, 11))
