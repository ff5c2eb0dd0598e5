"""Shared memory without a lock: one row a life, each field of one writer, read by all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from django_cluster.cluster.ipc.process_row import Cause, ProcessCommand, ProcessState, ScoreboardRow
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import CAUSE, COMMAND, PEAK_RSS, PID, REVOKED, RSS, STATE
from tests.fields import fields


def newborn(incarnation: int) -> ScoreboardRow:
    return ScoreboardRow(
        incarnation=incarnation,
        pid=0,
        state=ProcessState.BOOTING,
        running=0,
        begun=0,
        done=0,
        rss=0,
        started=0.0,
        deadline=0.0,
        command=ProcessCommand.RUN,
        cause=Cause.NONE,
        exit_code=None,
        peak_rss=0,
        revoked=0,
        role_code=0,
        restart_request=0,
    )


def test_a_new_board_is_empty(board: Scoreboard) -> None:
    assert {board.read(row).state for row in range(4)} == {ProcessState.EMPTY}


def test_a_new_life_begins_booting_and_knows_its_seat(board: Scoreboard) -> None:
    board.reset_row(2, incarnation=17)

    assert board.read(2) == newborn(17)


def test_nothing_of_the_last_life_is_left(board: Scoreboard) -> None:
    board.reset_row(1, incarnation=1)
    board.begin_job(1, 99, 1.5, 2.5)
    for word in (PID, RSS, PEAK_RSS, REVOKED):
        board.set(1, word, 99)
    board.set_exit(1, -9)

    board.reset_row(1, incarnation=2)

    assert board.read(1) == newborn(2)


def test_a_running_job_is_seen_with_its_deadline(board: Scoreboard) -> None:
    number = (5 << 32) + 3

    board.begin_job(1, number, 100.25, 0.0)
    board.set_deadline(1, 160.25)

    row = board.read(1)
    assert fields(row, "state", "running", "begun") == {"state": ProcessState.BUSY, "running": number, "begun": number}
    assert (row.started, row.deadline) == (100.25, 160.25)


def test_a_finished_job_has_no_deadline_but_was_begun(board: Scoreboard) -> None:
    board.begin_job(1, 7, 100.0, 160.0)

    board.finish_job(1)

    row = board.read(1)
    assert fields(row, "state", "running", "begun", "deadline", "done") == {
        "state": ProcessState.IDLE,
        "running": 0,
        "begun": 7,
        "deadline": 0.0,
        "done": 1,
    }


def test_a_job_that_was_handed_back_is_not_counted(board: Scoreboard) -> None:
    board.begin_job(1, 7, 100.0, 160.0)

    board.finish_job(1, counted=False)

    assert board.read(1).done == 0


@pytest.mark.parametrize("code", [0, 1, 255, -9, -15, -64])
def test_an_exit_code_can_be_told_from_being_alive(board: Scoreboard, code: int) -> None:
    alive = board.read(3).exit_code

    board.set_exit(3, code)

    assert alive is None
    assert board.read(3).exit_code == code


def test_rows_do_not_touch_each_other(board: Scoreboard) -> None:
    before = [board.read(row) for row in (0, 1, 3)]

    board.reset_row(2, incarnation=2**40)
    board.begin_job(2, 2**60, 1e300, 1e300)
    for word in (PID, RSS, PEAK_RSS, REVOKED):
        board.set(2, word, 2**63)
    board.set(2, COMMAND, ProcessCommand.STOP)
    board.set(2, CAUSE, Cause.CRASH_LOOP)

    assert [board.read(row) for row in (0, 1, 3)] == before


def test_who_maps_the_same_file_sees_the_same_rows(board: Scoreboard) -> None:
    other = Scoreboard(board.path, board.rows)
    other.set(0, STATE, ProcessState.STOPPING)
    board.set(0, COMMAND, ProcessCommand.STOP)

    assert board.read(0) == other.read(0)
    assert (board.read(0).state, other.read(0).command) == (ProcessState.STOPPING, ProcessCommand.STOP)
    other.close()


def test_only_its_owner_may_open_the_file(board: Scoreboard) -> None:
    assert Path(board.path).stat().st_mode & 0o777 == 0o600


def test_a_board_never_takes_the_place_of_another(board: Scoreboard) -> None:
    with pytest.raises(FileExistsError):
        Scoreboard.create(board.path, 4)


def test_a_child_that_has_finished_a_task_has_just_given_a_sign_of_life(board: Scoreboard) -> None:
    """Its task may have taken hours, and from now on its silence counts."""
    board.reset_row(1, incarnation=1)
    board.begin_job(1, 1, 1.0, 0.0)

    board.finish_job(1)

    assert time.monotonic() - board.read(1).last_alive < 10


def test_a_child_may_announce_that_it_will_be_silent(board: Scoreboard) -> None:
    board.report_alive(1, allowance=100.0)

    assert 90 < board.read(1).last_alive - time.monotonic() <= 100
