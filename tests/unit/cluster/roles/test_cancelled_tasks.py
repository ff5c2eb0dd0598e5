"""How a request to cancel reaches what runs, and what is about to run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_cluster.cluster.ipc.incarnation import ROLES, ProcessRole
from django_cluster.cluster.ipc.process_row import ProcessState
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.shared_hashes import MAX_CANCELLED
from django_cluster.cluster.ipc.words import CANCEL_JOB, SENTINEL
from django_cluster.cluster.roles.cancel_watch import FRESH_SECONDS, LOOK_SECONDS, CancelWatch
from django_cluster.cluster.roles.cancelled_tasks import CancelledTasks
from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.core.messages import Job, Outcome, OutcomeStatus, TaskHeader, TaskOptions
from django_cluster.errors import StoreUnavailable, TaskCancelled
from django_cluster.stores.cancel_requests import MAX_REQUESTS, CancelRequestStore
from tests.conftest import Clock

pytestmark = pytest.mark.django_db
ROW = 1


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Scoreboard]:
    made = Scoreboard.create(tmp_path / "scoreboard", 3)
    made.reset_row(ROW, 7, ROLES.index(ProcessRole.WORKER))
    yield made
    made.close()


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch, board: Scoreboard) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    board.set_cluster_word(SENTINEL, 4711)
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def header(task_id: str = "a", **options: Any) -> TaskHeader:
    return TaskHeader(id=task_id, name="n", func="f", enqueued_at=5.0, options=TaskOptions(**options))


def begin(board: Scoreboard, number: int, task_id: str = "a", *more: str) -> None:
    board.begin_job(ROW, number, 0.0, 0.0)
    board.write_task_info(ROW, number, task_id, "n", "f", *more)


def test_what_runs_is_cancelled_as_soon_as_a_request_is_known(board: Scoreboard, signals: list[Any]) -> None:
    clock, store = Clock(), CancelRequestStore()
    watch = CancelWatch(board, store, clock)
    clock.now = 100.0
    begin(board, 3)
    watch.look()
    assert not board.is_cancelled(ROW)

    store.add(["a"], by="ada")
    watch.look()
    assert not board.is_cancelled(ROW)  # not time yet
    clock.now += LOOK_SECONDS
    watch.look()

    assert board.is_cancelled(ROW)
    assert (board.read(ROW).is_cancelled, board.read(ROW).overdue_at) == (True, clock.now)
    assert signals == [(4711, signal.SIGCHLD)]
    clock.now += LOOK_SECONDS
    watch.look()
    assert len(signals) == 1


def test_nothing_is_asked_while_nothing_runs_for_long(board: Scoreboard, django_assert_num_queries: Any) -> None:
    clock = Clock()
    watch = CancelWatch(board, CancelRequestStore(), clock)
    clock.now = 100.0
    with django_assert_num_queries(0):
        watch.look()
        clock.now += LOOK_SECONDS
        board.begin_job(ROW, 3, clock.now, 0.0)
        watch.look()
        clock.now += LOOK_SECONDS / 2
        watch.look()


def test_a_job_that_begins_when_the_request_is_known_is_no_other(board: Scoreboard, signals: list[Any]) -> None:
    clock = Clock()
    watch = CancelWatch(board, CancelRequestStore(), clock)
    watch.refresh([CancelRequest("a")])
    begin(board, 3, "b")
    watch.refresh([CancelRequest("a")])
    assert board.get(ROW, CANCEL_JOB) == 0

    clock.now += FRESH_SECONDS + 1
    begin(board, 4, "a")  # retried under its id, perhaps: its worker has looked
    watch.refresh([CancelRequest("a")])
    assert not signals


def test_members_of_a_group_are_found_by_what_their_worker_notes(board: Scoreboard, signals: list[Any]) -> None:
    begin(board, 3, "a", "5.0", "composition", "label")
    watch = CancelWatch(board, CancelRequestStore(), Clock())

    watch.refresh([CancelRequest("label", given_at=4.0)])  # of tasks that were sent before
    assert not signals
    watch.refresh([CancelRequest("composition")])
    assert board.is_cancelled(ROW)


def test_what_has_ended_is_not_waited_for(board: Scoreboard) -> None:
    store = CancelRequestStore()
    store.add(["a", "b"])
    watch = CancelWatch(board, store, Clock())
    watch.refresh(store.recent())
    tasks = CancelledTasks(board, ROW, store)
    assert tasks.request_for(header("a")) is not None

    done = Outcome.of(Job(1, b"", "", 1), header(), OutcomeStatus.SUCCESS, started_at=1, stopped_at=2, worker="")
    watch.note_ends([done])

    assert [request.target for request in store.recent()] == ["b"]
    assert tasks.request_for(header("a")) is None
    assert tasks.request_for(header("b")) is not None


def test_a_worker_asks_the_database_only_of_what_the_scoreboard_names(
    board: Scoreboard, django_assert_num_queries: Any
) -> None:
    store = CancelRequestStore()
    store.add(["a", "mine"], by="ada")
    tasks = CancelledTasks(board, ROW, store)
    CancelWatch(board, store, Clock()).refresh(store.recent())

    with django_assert_num_queries(0):
        assert tasks.request_for(header("c")) is None
    found = tasks.request_for(header("a"))
    assert (found and found.sentence) == "Cancelled by ada."
    assert tasks.request_for(header("c", member=("mine", 0, "call"))) is not None
    assert tasks.request_for(header("c", member=("mine", -3, "follow"))) is None
    assert tasks.request_for(header("c", group="mine")) is not None
    store.remove(["a"])
    assert tasks.request_for(header("a")) is None  # sent again, and the scoreboard is a heartbeat old


def test_during_an_outage_the_scoreboard_is_believed(board: Scoreboard, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CancelRequestStore()
    CancelWatch(board, store, Clock()).refresh([CancelRequest("a")])

    def fail(_names: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(store, "find", fail)
    assert CancelledTasks(board, ROW, store).request_for(header("a")) == CancelRequest("a")


def test_a_run_is_interrupted_once_and_no_other(board: Scoreboard) -> None:
    point = CancelledTasks(board, ROW, CancelRequestStore()).point
    begin(board, 3)
    board.request_cancel(ROW, 3, 0.0)
    point.interrupt()  # outside a run

    with pytest.raises(TaskCancelled), point:
        pytest.fail("the request was there before the run")
    assert point.raised
    begin(board, 4)
    with point:
        point.interrupt()
        board.request_cancel(ROW, 4, 0.0)
        with pytest.raises(TaskCancelled):
            point.interrupt()
        point.interrupt()


def test_the_scoreboard_has_room_for_all_requests(board: Scoreboard) -> None:
    assert MAX_CANCELLED == MAX_REQUESTS
    board.cancelled.write(range(MAX_CANCELLED))
    assert board.cancelled.hashes() == frozenset(range(MAX_CANCELLED))
    assert board.read(0).state is ProcessState.EMPTY
    assert os.path.getsize(board.path) > 0
