"""What counts as reached."""

from __future__ import annotations

import pytest

from benchmarks.results import Spread
from benchmarks.targets import Target, evaluate

OURS = "django_cluster/redis"


def one(value: float) -> Spread:
    return Spread(value, value, value, 1)


@pytest.mark.parametrize(("ours", "reached"), [(2_000, True), (1_999, False)])
def test_more_has_to_be_at_least_so_many_times_the_peer(ours: float, reached: bool) -> None:
    numbers = {OURS: {"settled": one(ours)}, "huey/redis": {"settled": one(1_000)}}

    (results,) = evaluate([Target(OURS, "settled", "huey/redis", 2)], numbers)

    assert (results.goal, results.reached) == (2_000, reached)


@pytest.mark.parametrize(("ours", "reached"), [(0.07, True), (0.08, False)])
def test_less_has_to_be_at_most_the_fixed_number(ours: float, reached: bool) -> None:
    (results,) = evaluate([Target(OURS, "cpu", fixed=0.07)], {OURS: {"cpu": one(ours)}})

    assert results.reached is reached


def test_nothing_is_said_where_a_number_is_missing() -> None:
    (results,) = evaluate([Target(OURS, "settled", "huey/redis", 2)], {OURS: {"settled": one(1)}})

    assert results.reached is None
