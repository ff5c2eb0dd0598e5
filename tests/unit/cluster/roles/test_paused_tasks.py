"""How long a paused task stays away: a few come again soon, and many do not keep the workers busy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.shared_hashes import MAX_PAUSED, text_hash
from django_cluster.cluster.roles.paused_tasks import MAX_DELAY, MIN_DELAY, RETURNS_PER_SECOND, PausedTasks
from django_cluster.stores import operator_commands

FUNC = "shop.tasks.bill"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Scoreboard]:
    made = Scoreboard.create(tmp_path / "scoreboard", 3)
    yield made
    made.close()


def test_only_what_is_paused_waits_until_it_is_resumed(board: Scoreboard) -> None:
    paused = PausedTasks(board, Clock())
    assert paused.delay_of(FUNC) is None

    board.paused.write([text_hash(FUNC)])
    assert paused.delay_of(FUNC) == MIN_DELAY
    assert paused.delay_of("shop.tasks.other") is None
    assert PausedTasks(board, Clock()).delay_of(FUNC) == MIN_DELAY  # a worker that starts later, too

    board.paused.write([])
    assert paused.delay_of(FUNC) is None


def test_the_same_pauses_are_not_written_again(board: Scoreboard) -> None:
    board.paused.write([text_hash(FUNC)])
    before = board.paused.version
    board.paused.write([text_hash(FUNC)])
    assert board.paused.version == before


def test_what_a_killed_monitor_has_written_in_part_is_not_believed(board: Scoreboard) -> None:
    board.paused.write([text_hash(FUNC)])
    paused = PausedTasks(board, Clock())
    paused.delay_of(FUNC)
    board.paused.words[0] += 1
    board.paused.words[1] = 0

    assert board.paused.hashes() is None
    assert paused.delay_of(FUNC) == MIN_DELAY
    board.paused.write([text_hash("shop.tasks.other")])
    assert paused.delay_of(FUNC) is None


def test_the_scoreboard_has_room_for_as_many_as_can_be_paused(board: Scoreboard) -> None:
    hashes = frozenset(text_hash(f"shop.tasks.number_{number}") for number in range(MAX_PAUSED))
    board.paused.write(hashes)
    for row in range(board.rows):
        board.begin_job(row, 1, 1.0, 2.0, "x" * 2000)
        board.write_task_info(row, 1, "x" * 1000)
        board.write_progress(row, 1.0, 2.0, "x" * 1000)
        board.finish_job(row)
    assert board.paused.hashes() == hashes
    assert operator_commands.MAX_PAUSED_TASKS == MAX_PAUSED
    assert all(board.read(row).done == 1 for row in range(board.rows))
    assert board.running_receipts() == []


def test_many_paused_tasks_do_not_keep_a_worker_busy(board: Scoreboard) -> None:
    """100,000 tasks that come again when their delay has passed: a few dozen in a second, in the end."""
    clock = Clock()
    board.paused.write([text_hash(FUNC)])
    paused = PausedTasks(board, clock)
    due = [0.0] * 50_000
    looked = []
    for _ in range(8):
        clock.now = min(due)
        now = [place for place, moment in enumerate(due) if moment <= clock.now]
        for place in now:
            due[place] = clock.now + (paused.delay_of(FUNC) or 0.0)
        looked.append(len(now))
    last_delay = max(due) - clock.now
    assert last_delay == MAX_DELAY
    assert sum(looked[1:]) / (clock.now or 1) <= 2 * RETURNS_PER_SECOND


def test_the_delay_becomes_short_again_when_few_are_left(board: Scoreboard) -> None:
    clock = Clock()
    board.paused.write([text_hash(FUNC)])
    paused = PausedTasks(board, clock)
    for _ in range(100_000):
        paused.delay_of(FUNC)
    assert paused.delay_of(FUNC) == MAX_DELAY
    for _ in range(20):
        clock.now += MAX_DELAY
        paused.delay_of(FUNC)
    assert paused.delay_of(FUNC) == MIN_DELAY
