"""What a process runs, in words, and how far it is."""

from __future__ import annotations

from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.core.task_progress import TaskProgress


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
