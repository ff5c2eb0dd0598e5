"""Which tasks a worker writes down together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from django_cluster.core.messages import Job, TaskHeader, TaskOptions
from django_cluster.errors import StoreUnavailable, UnknownFormat
from django_cluster.lifecycle.ahead import AHEAD_SECONDS, MOST_AHEAD, RunsAhead
from django_cluster.stores.tracked import TrackedTasks
from django_cluster.stores.tracked_runs import BegunRun

RUN = BegunRun(1, datetime.now(UTC), datetime.now(UTC), ("one",), ())


class Rows:
    """What a worker writes."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.taken_back: list[str] = []
        self.fails = False

    def begin_ahead(self, deliveries: Mapping[str, int], worker: str, now: float) -> dict[str, BegunRun]:
        self.begun.append(list(deliveries))
        return dict.fromkeys(deliveries, RUN)

    def take_back(self, ids: Sequence[str], worker: str) -> None:
        if self.fails:
            raise StoreUnavailable("gone")
        self.taken_back += ids


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def ahead(rows: Rows) -> RunsAhead:
    return RunsAhead(cast("TrackedTasks", rows), "one")


def job(number: int, func: str = "quick", **options: Any) -> Job:
    return Job(number, f"{func} {options.get('track', True)}".encode(), f"receipt {number}", 1)


def header_of(job: Job) -> TaskHeader:
    func, track = job.body.decode().split()
    if func == "broken":
        raise UnknownFormat("broken")
    return TaskHeader(
        id=str(job.number), name="n", func=func, enqueued_at=0.0, options=TaskOptions(track=track == "True")
    )


def begin(ahead: RunsAhead, first: Job) -> BegunRun | None:
    return ahead.begin(first, header_of(first), 0.0, header_of)


def test_a_function_that_was_never_seen_is_written_down_alone(ahead: RunsAhead, rows: Rows) -> None:
    ahead.waiting = [job(2)]

    assert begin(ahead, job(1)) is None
    assert rows.begun == []


def test_what_will_be_run_in_a_moment_is_written_down_once(ahead: RunsAhead, rows: Rows) -> None:
    ahead.observe("quick", AHEAD_SECONDS / 4.5)
    ahead.waiting = [job(2), job(3, track=False), job(4), job(5)]

    assert begin(ahead, job(1)) is RUN
    assert begin(ahead, job(2)) is RUN
    assert rows.begun == [["1", "2", "4"]]


@pytest.mark.parametrize("func", ["slow", "unknown"])
def test_nothing_behind_a_task_that_may_take_long_is_written_down(ahead: RunsAhead, rows: Rows, func: str) -> None:
    ahead.observe("quick", 0.0001)
    ahead.observe("slow", 1.0)
    ahead.waiting = [job(2), job(3, func), job(4)]

    begin(ahead, job(1))

    assert rows.begun == [["1", "2"]]


def test_a_message_that_cannot_be_read_is_left_to_its_turn(ahead: RunsAhead, rows: Rows) -> None:
    ahead.observe("quick", 0.0001)
    ahead.waiting = [job(2, "broken"), job(3)]

    begin(ahead, job(1))

    assert rows.begun == [["1", "3"]]


def test_not_more_than_so_many_are_written_down(ahead: RunsAhead, rows: Rows) -> None:
    ahead.observe("quick", 0.0)
    ahead.waiting = [job(number) for number in range(2, 500)]

    begin(ahead, job(1))

    assert len(rows.begun[0]) == MOST_AHEAD


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_not_run_here_is_taken_back(ahead: RunsAhead, rows: Rows, fails: bool) -> None:
    ahead.observe("quick", 0.0001)
    ahead.waiting = [job(2), job(3)]
    begin(ahead, job(1))
    rows.fails = fails

    ahead.take_back([job(2), job(9)])

    assert rows.taken_back == ([] if fails else ["2"])
    assert begin(ahead, job(3)) is RUN
