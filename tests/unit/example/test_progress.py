"""The bar and the lines."""

from __future__ import annotations

from io import StringIO

from example.census.progress import LOG_SECONDS, Progress
from tests.conftest import Clock


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_that_moves(clock: Clock) -> None:
    out = Terminal()
    progress = Progress(out, total=10, done=0, clock=clock)

    clock.advance(2)
    progress.show(5)
    progress.show(6)

    assert out.getvalue().count("\r") == 2
    assert "\n" not in out.getvalue()
    assert "[##################------------] 6 of 10 files, 60%, 3 a second" in out.getvalue()


def test_a_log_gets_a_line_now_and_then(clock: Clock) -> None:
    out = StringIO()
    progress = Progress(out, total=10, done=0, clock=clock)

    progress.show(1)
    clock.advance(LOG_SECONDS)
    progress.show(9)
    progress.show(10)

    assert out.getvalue().count("\n") == 1
    assert "9 of 10 files" in out.getvalue()


def test_the_pace_counts_only_what_was_done_since_the_beginning(clock: Clock) -> None:
    progress = Progress(StringIO(), total=300, done=100, clock=clock)

    clock.advance(4)
    progress.show(300)

    assert progress.end() == "200 tasks in 4.0 seconds: 50 tasks a second."


def test_a_folder_without_files_is_done_at_once(clock: Clock) -> None:
    out = Terminal()
    progress = Progress(out, total=0, done=0, clock=clock)

    progress.show(0)

    assert "0 of 0 files, 100%" in out.getvalue()
    assert progress.end() == "0 tasks in 0.0 seconds: 0 tasks a second."
