"""What /proc says, read rightly; marks; sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.agent import arguments_of, portions
from benchmarks.marks import VARIABLE, Marks, Pen
from benchmarks.measure import TICK, Stat, parse_pss, parse_stat
from benchmarks.scenarios import amount, percentile
from benchmarks.servers import descendants, number_in
from benchmarks.task_profile import role_in
from tests.fields import fields

STAT = "42 (a (bad) name) S 7 42 9 0 -1 4194304 100 0 0 0 11 5 3 1 20 0 1 0 12345 1000 10"


def test_a_name_with_parentheses_does_not_move_the_fields() -> None:
    stat = parse_stat(STAT)

    assert fields(stat, "pid", "parent", "session") == {"pid": 42, "parent": 7, "session": 9}


def test_the_time_of_ended_children_counts() -> None:
    assert parse_stat(STAT).cpu == 20 * TICK


def test_memory_is_the_proportional_set_size() -> None:
    assert parse_pss("Rss:  900 kB\nPss:  321 kB\nPss_Dirty:  5 kB\n") == 321


def test_a_process_that_ended_meanwhile_has_no_memory() -> None:
    assert parse_pss("") == 0


def test_a_family_is_found_down_to_the_grandchildren() -> None:
    everybody = [Stat(pid, parent, 0, 0.0) for pid, parent in ((1, 0), (2, 1), (3, 2), (4, 0))]

    assert [each.pid for each in descendants(everybody, {1})] == [1, 2, 3]


@pytest.mark.parametrize(("words", "version"), [("Redis server v=7.0.15 sha=0", "7.0.15"), ("unknown", "unknown")])
def test_the_version_is_found_in_what_a_program_says(words: str, version: str) -> None:
    assert number_in(words) == version


@pytest.mark.parametrize(("pace", "count"), [(10, 40), (1_234, 1_200), (98_765, 98_000)])
def test_amounts_are_round_and_never_tiny(pace: int, count: int) -> None:
    assert amount(1.0, pace) == count


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (95, 4), (99, 4)])
def test_a_percentile_is_a_value_that_was_measured(percent: int, value: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == value


def test_large_numbers_are_sent_in_portions() -> None:
    assert list(portions(25_000)) == [10_000, 10_000, 5_000]


def test_the_large_argument_is_the_same_in_every_run() -> None:
    assert arguments_of("weigh") == arguments_of("weigh")
    assert len(arguments_of("weigh")[0]) == 100_000
    assert arguments_of("noop") == ()


def test_marks_are_counted_and_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = Marks(tmp_path / "marks")
    monkeypatch.setenv(VARIABLE, str(marks.path))
    pens = [Pen(), Pen()]

    for pen in [*pens, *pens]:
        pen.mark()

    assert marks.count == 4
    assert marks.moments() == sorted(marks.moments())
    assert marks.last() == marks.moments()[-1]


def test_marks_can_be_wiped_under_an_open_pen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = Marks(tmp_path / "marks")
    monkeypatch.setenv(VARIABLE, str(marks.path))
    pen = Pen()
    pen.mark()

    marks.clear()
    pen.mark()

    assert marks.count == 1


@pytest.mark.parametrize(
    ("title", "role"),
    [("qcluster bench worker 2", "worker"), ("qcluster bench pusher", "pusher"), ("python -m django", "sentinel")],
)
def test_a_process_is_known_by_its_title(title: str, role: str) -> None:
    assert role_in(title) == role
