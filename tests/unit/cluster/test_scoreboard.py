"""Shared memory without a lock: one row a life, each field of one writer, read by all."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.cluster.scoreboard import (
    CAUSE,
    KEPT,
    KEPT_LONG,
    ORDER,
    PEAK,
    PID,
    RECEIPT_SIZE,
    REVOKED,
    RSS,
    SHORT_SIZE,
    STATE,
    Cause,
    Order,
    Row,
    Scoreboard,
    State,
)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Scoreboard]:
    board = Scoreboard.create(tmp_path / "scoreboard", 4)
    yield board
    board.close()


def newborn(seat: int) -> Row:
    return Row(
        seat=seat,
        pid=0,
        state=State.BOOTING,
        running=0,
        begun=0,
        done=0,
        rss=0,
        started=0.0,
        deadline=0.0,
        order=Order.STAY,
        cause=Cause.NONE,
        exit=None,
        peak=0,
        revoked=0,
        post=0,
        recycle=0,
    )


def test_a_new_board_is_empty(board: Scoreboard) -> None:
    assert {board.read(row).state for row in range(4)} == {State.EMPTY}


def test_a_new_life_begins_booting_and_knows_its_seat(board: Scoreboard) -> None:
    board.clear(2, seat=17)

    assert board.read(2) == newborn(17)


def test_nothing_of_the_last_life_is_left(board: Scoreboard) -> None:
    board.clear(1, seat=1)
    board.begin(1, 99, 1.5, 2.5)
    for word in (PID, RSS, PEAK, REVOKED):
        board.set(1, word, 99)
    board.set_exit(1, -9)

    board.clear(1, seat=2)

    assert board.read(1) == newborn(2)


def test_a_running_job_is_seen_with_its_deadline(board: Scoreboard) -> None:
    number = (5 << 32) + 3

    board.begin(1, number, 100.25, 0.0)
    board.set_deadline(1, 160.25)

    row = board.read(1)
    assert (row.state, row.running, row.begun) == (State.BUSY, number, number)
    assert (row.started, row.deadline) == (100.25, 160.25)


def test_a_finished_job_has_no_deadline_but_was_begun(board: Scoreboard) -> None:
    board.begin(1, 7, 100.0, 160.0)

    board.finish(1)

    row = board.read(1)
    assert (row.state, row.running, row.begun, row.deadline, row.done) == (State.IDLE, 0, 7, 0.0, 1)


def test_a_job_that_was_handed_back_is_not_counted(board: Scoreboard) -> None:
    board.begin(1, 7, 100.0, 160.0)

    board.finish(1, counted=False)

    assert board.read(1).done == 0


@pytest.mark.parametrize("code", [0, 1, 255, -9, -15, -64])
def test_an_exit_code_can_be_told_from_being_alive(board: Scoreboard, code: int) -> None:
    alive = board.read(3).exit

    board.set_exit(3, code)

    assert alive is None
    assert board.read(3).exit == code


def test_rows_do_not_touch_each_other(board: Scoreboard) -> None:
    before = [board.read(row) for row in (0, 1, 3)]

    board.clear(2, seat=2**40)
    board.begin(2, 2**60, 1e300, 1e300)
    for word in (PID, RSS, PEAK, REVOKED):
        board.set(2, word, 2**63)
    board.set(2, ORDER, Order.LEAVE)
    board.set(2, CAUSE, Cause.STUCK)

    assert [board.read(row) for row in (0, 1, 3)] == before


def test_who_maps_the_same_file_sees_the_same_rows(board: Scoreboard) -> None:
    other = Scoreboard(board.path, board.rows)
    other.set(0, STATE, State.LEAVING)
    board.set(0, ORDER, Order.LEAVE)

    assert board.read(0) == other.read(0)
    assert (board.read(0).state, other.read(0).order) == (State.LEAVING, Order.LEAVE)
    other.close()


def test_only_its_owner_may_open_the_file(board: Scoreboard) -> None:
    assert Path(board.path).stat().st_mode & 0o777 == 0o600


def test_a_board_never_takes_the_place_of_another(board: Scoreboard) -> None:
    with pytest.raises(FileExistsError):
        Scoreboard.create(board.path, 4)


RECEIPTS = st.builds(lambda start, size: (start + "x" * size)[:size], st.text("abc:0123"), st.integers(0, 200))


@given(st.lists(st.tuples(RECEIPTS, st.booleans()), max_size=90), st.integers(0, 2 * KEPT), st.booleans())
def test_the_receipts_of_what_was_done_last_are_kept(jobs: list[tuple[str, bool]], before: int, runs: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        board = Scoreboard.create(Path(folder, "board"), 3)
        everything = [(f"before {number}", True) for number in range(before)] + jobs
        for number, (receipt, counted) in enumerate(everything, 1):
            board.begin(1, number, 1.0, 0.0, receipt)
            board.finish(1, counted=counted)
        if runs:
            board.begin(1, len(everything) + 1, 1.0, 0.0, "running")

        done = [receipt for receipt, counted in everything if counted]
        kept = [each for place, each in enumerate(done[::-1], 1) if place < (KEPT_LONG if is_long(each) else KEPT)]
        assert board.done_receipts(1) == [receipt for receipt in kept[::-1] if receipt]
        assert board.running_receipts() == (["running"] if runs else [])
        assert board.done_receipts(0) == board.done_receipts(2) == []
        board.set_exit(1, -9)
        assert board.done_receipts(1) == []
        board.close()


def is_long(receipt: str) -> bool:
    return len(receipt) >= SHORT_SIZE


@pytest.mark.parametrize("size", [1, SHORT_SIZE - 1, SHORT_SIZE, RECEIPT_SIZE - 1])
def test_the_receipt_of_what_runs_is_kept_however_long_it_is(board: Scoreboard, size: int) -> None:
    board.begin(0, 1, 1.0, 0.0, "x" * size)

    assert board.running_receipts() == ["x" * size]


def test_a_receipt_that_is_too_long_leaves_no_older_one_in_its_place(board: Scoreboard) -> None:
    for number in range(1, KEPT + 1):
        board.begin(0, number, 1.0, 0.0, f"receipt {number}")
        board.finish(0)

    board.begin(0, KEPT + 1, 1.0, 0.0, "x" * RECEIPT_SIZE)

    assert board.running_receipts() == []


def test_a_child_that_has_finished_a_task_has_just_given_a_sign_of_life(board: Scoreboard) -> None:
    """Its task may have taken hours, and from now on its silence counts."""
    board.clear(1, seat=1)
    board.begin(1, 1, 1.0, 0.0)

    board.finish(1)

    assert time.monotonic() - board.read(1).tick < 10


def test_a_child_may_announce_that_it_will_be_silent(board: Scoreboard) -> None:
    board.tick(1, allowance=100.0)

    assert 90 < board.read(1).tick - time.monotonic() <= 100
