"""Numbers as text, tables as text and as Markdown."""

from __future__ import annotations

import pytest

from benchmarks.report import as_markdown, as_text, cell, counterpart, number, times
from benchmarks.results import Results, Spread, Visit


def results(*visits: Visit) -> Results:
    names = [visit.system for visit in visits]
    return Results(
        date="2026-11-20",
        machine={"processor": "2 × Fast"},
        versions={"huey": "3.5"},
        durability=dict.fromkeys(names, ("run again", "row with the value")),
        visits=list(visits),
    )


def visit(system: str, loop: float = 5.0, error: str = "", **numbers: float) -> Visit:
    return Visit(system, "throughput", 0, numbers, (loop, loop), 0.1, error)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123, "0.012"), (0.5, "0.50"), (12.34, "12.3"), (999.9, "1,000"), (1234, "1,230"), (65432, "65,400")],
)
def test_a_number_has_three_figures(value: float, text: str) -> None:
    assert number(value) == text


def test_a_single_measurement_has_no_spread() -> None:
    assert cell(Spread(12.0, 12.0, 12.0, 1)) == "12.0"


def test_repetitions_are_shown_as_median_and_range() -> None:
    assert cell(Spread(12.0, 10.0, 15.0, 3)) == "12.0 (10.0–15.0)"


def test_what_was_not_measured_is_a_dash() -> None:
    assert cell(None) == "–"


def test_a_ratio_above_one_is_always_good() -> None:
    assert times(200, 100, more_is_better=True) == "2.00 ×"
    assert times(1, 4, more_is_better=False) == "4.00 ×"


def test_a_ratio_to_nothing_is_a_dash() -> None:
    assert times(200, 0, more_is_better=True) == "–"


@pytest.mark.parametrize(
    ("peer", "ours"),
    [
        ("huey/redis", "django_cluster/redis"),
        ("pgqueuer/pg", "django_cluster/orm-pg"),
        ("django-q2/orm-sqlite", "django_cluster/orm-sqlite"),
    ],
)
def test_a_peer_is_compared_on_its_own_server(peer: str, ours: str) -> None:
    assert counterpart(peer) == ours


def test_the_text_shows_systems_targets_and_ratios() -> None:
    text = as_text(results(visit("django_cluster/redis", settled=9_000), visit("huey/redis", settled=3_000)))

    assert "≥ 6,000 = 2.00 × huey/redis" in text
    assert "yes" in text
    assert "3.00 ×" in text


def test_a_table_without_numbers_is_left_out() -> None:
    assert "Latency" not in as_text(results(visit("huey/redis", settled=3_000)))


def test_a_failure_is_told() -> None:
    found = results(visit("huey/redis", settled=1), visit("celery/redis", error="AgentFailed: gone\nlong story"))

    assert "Failed: celery/redis throughput: AgentFailed: gone\n" in as_text(found)


def test_a_disturbed_system_is_marked() -> None:
    text = as_text(results(visit("huey/redis", loop=5.0, settled=1), visit("celery/redis", loop=8.0, settled=1)))

    assert "+60% !" in text
    assert "+0%\n" in text


def test_markdown_has_a_rule_under_each_head_and_names_its_charts() -> None:
    text = as_markdown(results(visit("huey/redis", settled=3_000)), ["throughput"])

    assert "| system | settled/s |\n| --- | ---: |\n| huey/redis | 3,000 |" in text
    assert "](performance/throughput.svg)" in text
