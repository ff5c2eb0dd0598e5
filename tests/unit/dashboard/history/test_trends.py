"""From rows of history to what a page draws."""

from __future__ import annotations

from typing import Any

from django_cluster.core.histogram import bin_of, to_text
from django_cluster.dashboard.history.trends import WINDOWS, trends
from django_cluster.stores.history_reader import HistoryRow

HOUR, DAY, _ = WINDOWS
NOW = 1_700_000_000.0


def row(minutes_ago: float = 0.0, **changes: Any) -> HistoryRow:
    start = int(NOW - 60 * minutes_ago) // 60 * 60
    given = {"queue": "mail", "func": "a.b", "status": "success", "error_kind": "", "runs": 1, "retried": 0}
    texts = {"run_seconds": 1.0, "wait_text": "", "run_text": "", "last_error": "", "last_task": "", "last_at": 0.0}
    return HistoryRow(**{"start": start, **given, **texts, **changes})


def failure(minutes_ago: float, **changes: Any) -> HistoryRow:
    at = NOW - 60 * minutes_ago
    return row(minutes_ago, **{"status": "failure", "error_kind": "ValueError", "last_at": at, **changes})


def test_the_last_bucket_holds_now_and_older_rows_are_left_out() -> None:
    found = trends([row(0), row(59), row(60)], HOUR, NOW)

    assert len(found.buckets) == 60
    assert [number for number, each in enumerate(found.buckets) if each.done] == [0, 59]
    assert found.total.done == 2


def test_minutes_and_hours_share_a_day() -> None:
    hour = int(NOW) // 3600 * 3600
    found = trends([row(0, runs=5), row(start=hour - 3600, runs=7)], DAY, NOW)

    assert [each.done for each in found.buckets[-2:]] == [7, 5]


def test_what_was_discarded_or_has_expired_is_neither_success_nor_failure() -> None:
    total = trends([row(status="discarded"), row(status="expired"), row(status="dead")], HOUR, NOW).total

    assert (total.done, total.failed, total.dead) == (0, 1, 1)


def test_functions_are_sorted_by_what_they_cost() -> None:
    rows = [row(func="cheap", runs=99), row(func="costly", run_seconds=50.0, run_text=to_text({bin_of(50.0): 1}))]

    found = trends(rows, HOUR, NOW).functions

    assert [func for func, _ in found] == ["costly", "cheap"]
    assert abs((found[0][1].run(0.5) or 0.0) - 50.0) < 4.5


def test_failures_are_grouped_by_function_and_class_of_error() -> None:
    rows = [
        failure(50, runs=3, last_error="old"),
        failure(2, runs=2, last_error="new", last_task="t"),
        failure(1, error_kind="OSError"),
        failure(1, func="c.d"),
    ]

    found = trends(rows, HOUR, NOW).failures

    assert [(each.func, each.error_kind, each.count) for each in found] == [
        ("a.b", "ValueError", 5), ("a.b", "OSError", 1), ("c.d", "ValueError", 1),
    ]  # fmt: skip
    assert (found[0].last_error, found[0].last_task, found[0].is_new) == ("new", "t", False)
    assert sum(found[0].per_bucket) == 5
    assert found[1].is_new
