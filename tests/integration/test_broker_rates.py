"""``benchmarks.brokers`` on real servers: what either side is given, it gives out again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.brokers.__main__ import signed_payloads
from benchmarks.brokers.places import PLACES
from benchmarks.brokers.rates import Workload, measure
from tests.servers import require

ROOT = Path(__file__).resolve().parents[2]
LOAD = Workload(singly=2, bulk=300, seconds=0.0)
"""More than one batch."""


@pytest.fixture
def databases(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, so they need none of pytest-django's."""
    with django_db_blocker.unblock():
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_both_sides_give_out_what_they_were_given(name: str, databases: None) -> None:
    place = PLACES[name]
    if place.needs:
        require(place.needs)
    with place.open() as ground:
        ours, floor = ground.ours(), ground.floor()
        try:
            found = measure(ours, floor, LOAD, signed_payloads(LOAD.singly + LOAD.bulk))
        finally:
            ours.close()
            floor.close()

    assert len(found) == 9
    assert all(found.values())
    assert ground.version[0].isdigit()


def test_the_command_prints_a_table_of_the_chosen_brokers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.brokers", "--brokers", "SQL*", "--size", "quick", "--repetitions", "1"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "rates.json")], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "Drain in batches" in done.stdout
    assert "DELETE … RETURNING" in done.stdout
    assert "RabbitMQ" not in done.stdout
