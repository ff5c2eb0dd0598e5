"""Shared memory without a lock: one row a life, each field of one writer, read by all."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.cluster.ipc import scoreboard
from django_cluster.cluster.ipc.scoreboard import (
    CAUSE,
    COMMAND,
    LONG_RECEIPT_BYTES,
    LONG_RECEIPTS_PER_ROW,
    PEAK_RSS,
    PID,
    RECEIPT_BYTES,
    RECEIPTS_PER_ROW,
    REVOKED,
    RSS,
    STATE,
    Cause,
    ProcessCommand,
    ProcessState,
    Scoreboard,
    ScoreboardRow,
)
from django_cluster.core.task_progress import TaskProgress
from tests.fields import fields


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Scoreboard]:
    board = Scoreboard.create(tmp_path / "scoreboard", 4)
    yield board
    board.close()


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


RECEIPTS = st.builds(lambda start, size: (start + "x" * size)[:size], st.text("abc:0123"), st.integers(0, 200))


@given(st.lists(st.tuples(RECEIPTS, st.booleans()), max_size=90), st.integers(0, 2 * RECEIPTS_PER_ROW), st.booleans())
def test_the_receipts_of_what_was_done_last_are_kept(jobs: list[tuple[str, bool]], before: int, runs: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        board = Scoreboard.create(Path(folder, "board"), 3)
        everything = [(f"before {number}", True) for number in range(before)] + jobs
        for number, (receipt, counted) in enumerate(everything, 1):
            board.begin_job(1, number, 1.0, 0.0, receipt)
            board.finish_job(1, counted=counted)
        if runs:
            board.begin_job(1, len(everything) + 1, 1.0, 0.0, "running")

        done = [receipt for receipt, counted in everything if counted]
        kept = [
            each
            for place, each in enumerate(done[::-1], 1)
            if place < (LONG_RECEIPTS_PER_ROW if is_long(each) else RECEIPTS_PER_ROW)
        ]
        assert board.done_receipts(1) == [receipt for receipt in kept[::-1] if receipt]
        assert board.running_receipts() == (["running"] if runs else [])
        assert board.done_receipts(0) == board.done_receipts(2) == []
        board.set_exit(1, -9)
        assert board.done_receipts(1) == []
        board.close()


def is_long(receipt: str) -> bool:
    return len(receipt) >= RECEIPT_BYTES


@pytest.mark.parametrize("size", [1, RECEIPT_BYTES - 1, RECEIPT_BYTES, LONG_RECEIPT_BYTES - 1])
def test_the_receipt_of_what_runs_is_kept_however_long_it_is(board: Scoreboard, size: int) -> None:
    board.begin_job(0, 1, 1.0, 0.0, "x" * size)

    assert board.running_receipts() == ["x" * size]


def test_a_receipt_that_is_too_long_leaves_no_older_one_in_its_place(board: Scoreboard) -> None:
    for number in range(1, RECEIPTS_PER_ROW + 1):
        board.begin_job(0, number, 1.0, 0.0, f"receipt {number}")
        board.finish_job(0)

    board.begin_job(0, RECEIPTS_PER_ROW + 1, 1.0, 0.0, "x" * LONG_RECEIPT_BYTES)

    assert board.running_receipts() == []


def test_a_child_that_has_finished_a_task_has_just_given_a_sign_of_life(board: Scoreboard) -> None:
    """Its task may have taken hours, and from now on its silence counts."""
    board.reset_row(1, incarnation=1)
    board.begin_job(1, 1, 1.0, 0.0)

    board.finish_job(1)

    assert time.monotonic() - board.read(1).last_alive < 10


def test_a_child_may_announce_that_it_will_be_silent(board: Scoreboard) -> None:
    board.report_alive(1, allowance=100.0)

    assert 90 < board.read(1).last_alive - time.monotonic() <= 100


def test_no_two_words_share_a_place() -> None:
    """Words of a row, and words of the cluster: PHASE and what follows it are the latter."""
    words = {name: value for name, value in vars(scoreboard).items() if name.isupper() and type(value) is int}
    cluster = {
        "PHASE", "RESTARTS", "SENTINEL", "PAUSED_QUEUES", "LAUNCHED", "NOTIFIER_NEEDED", "LEASED_UNTIL", "UNTIL_EMPTY",
            "COMMANDS_UNREAD",
    }  # fmt: skip
    sizes = {
        "WORD_BYTES", "WORDS_PER_ROW", "STILL_RUNNING", "EXIT_OFFSET", "MAX_PAUSED_TASKS", "PROGRESS_CHARACTERS",
    }  # fmt: skip
    row = [name for name in words if name not in cluster | sizes and "RECEIPT" not in name and "BYTES" not in name]

    for names in (sorted(cluster), row):
        places = [words[name] for name in names]
        assert len(places) == len(set(places)), names
        assert max(places) < scoreboard.WORDS_PER_ROW


def test_a_task_of_any_name_is_seen_to_run(board: Scoreboard) -> None:
    id, func = "f" * 32, "f" * 256
    board.begin_job(1, 2**63, 1.0, 2.0)

    board.write_task_info(1, 2**63, id, "a\nb\0c", func)
    assert board.read_task_info(1) == [id, "a b c", func]
    board.write_task_info(1, 2**63, id, "\N{GRINNING FACE}" * 100, func)
    assert board.read_task_info(1) == [id, "\N{GRINNING FACE}" * 100, func]


def test_a_job_says_how_far_it_is(board: Scoreboard) -> None:
    board.begin_job(1, 7, 1.0, 0.0)
    before = board.read_progress(1)
    board.write_progress(1, 3.0, 10.0, "é" * 300)

    assert before is None
    assert board.read_progress(1) == TaskProgress(done=3.0, total=10.0, message="é" * 200)
    assert board.read_progress(0) is None


def test_what_a_job_said_is_not_said_of_the_next(board: Scoreboard) -> None:
    board.begin_job(1, 7, 1.0, 0.0)
    board.write_progress(1, 3.0, 0.0, "copying")
    board.finish_job(1)
    between = board.read_progress(1)
    board.write_progress(1, 9.0, 9.0, "a thread that was left behind")
    board.begin_job(1, 8, 1.0, 0.0)
    next_one = board.read_progress(1)
    board.write_progress(1, 1.0, 0.0, "")

    assert (between, next_one) == (None, None)
    assert board.read_progress(1) == TaskProgress(done=1.0)


def test_a_message_can_be_taken_back_and_repeated(board: Scoreboard) -> None:
    board.begin_job(1, 7, 1.0, 0.0)
    seen = []
    for message in ("a longer one", "", "a\0b", "a longer one"):
        board.write_progress(1, 1.0, 2.0, message)
        seen.append(board.read_progress(1))

    assert [each.message for each in seen if each] == ["a longer one", "", "a b", "a longer one"]
