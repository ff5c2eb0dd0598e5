"""Receipts of what runs, and of what was done last, in the shared memory of the scoreboard."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.cluster.ipc.receipts import (
    LONG_RECEIPT_BYTES,
    LONG_RECEIPTS_PER_ROW,
    RECEIPT_BYTES,
    RECEIPTS_PER_ROW,
)
from django_cluster.cluster.ipc.scoreboard import Scoreboard

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
