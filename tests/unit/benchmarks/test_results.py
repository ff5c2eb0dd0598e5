"""The file of a run, and what is reckoned from it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results import Results, Spread, Visit, spread


def run_of(*values: float) -> Results:
    visits = [
        Visit("huey/redis", "throughput", place, {"settled": value}, (5.0, 5.0 + place), 0.1)
        for place, value in enumerate(values)
    ]
    return Results("today", {}, {}, {"huey/redis": ("lost", "hash field in Redis")}, visits)


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)


def test_repetitions_of_a_number_come_together() -> None:
    assert run_of(10.0, 30.0, 20.0).spreads()["huey/redis"]["settled"] == Spread(20.0, 10.0, 30.0, 3)


def test_the_machine_is_judged_by_its_best_moment() -> None:
    run = run_of(1.0, 1.0, 1.0)

    assert run.quietest_loop() == 5.0
    assert run.disturbance("huey/redis") == 0.0


def test_a_saved_run_reads_the_same(tmp_path: Path) -> None:
    run = run_of(1.0, 2.0)
    path = tmp_path / "folder" / "results.json"

    run.save(path)

    assert Results.load(path).spreads() == run.spreads()
    assert Results.load(path).visits == run.visits


def test_floors_of_all_repetitions_come_together() -> None:
    run = run_of()
    run.floors.extend([{"line": {"cpu_us": 4.0}}, {"line": {"cpu_us": 6.0}}])

    assert run.floor_spreads() == {"line": {"cpu_us": Spread(5.0, 4.0, 6.0, 2)}}
