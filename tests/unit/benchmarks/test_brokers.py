"""Timing of the phases, and the tables of ``benchmarks.brokers``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest

from benchmarks.brokers.rates import PHASES, Stopwatch, Workload, measure, numbers, play
from benchmarks.brokers.sides import Missing, Ours, Side, Taker, in_batches
from benchmarks.brokers.tables import STAND_INS, as_markdown, as_text, chart
from benchmarks.results import Results, Visit
from django_cluster.brokers import memory
from tests.brokers import opener

PAYLOADS = [f"payload {number}" for number in range(700)]
DOES = {"Redis": ("RPUSH", "RPUSH of a batch", "LPOP")}


@pytest.fixture
def ours() -> Iterator[Side]:
    side = Ours(opener("memory")())
    yield side
    side.close()
    memory.reset()


class Listed(Taker):
    """A floor in a list, which writes down what is done, and may spoil what it hands out."""

    def __init__(self, spoilt: str = "", diary: list[str] | None = None) -> None:
        self.kept: list[str] = []
        self.spoilt = spoilt
        self.diary = [] if diary is None else diary

    def send(self, payload: str) -> None:
        self.kept.append(payload)

    def send_many(self, payloads: Sequence[str]) -> None:
        self.diary.append(f"{len(payloads)} sent")
        self.kept += payloads

    def take(self, limit: int) -> Sequence[Any]:
        taken, self.kept = self.kept[:limit], self.kept[limit:]
        self.diary.append(f"{len(taken)} taken")
        return [self.spoilt or payload for payload in taken]


def ticking() -> Stopwatch:
    """Each look at its clock is a second after the one before."""
    ticks = count()
    return Stopwatch(clock=lambda: float(next(ticks)))


def visit(repetition: int, ours: float, floor: float, name: str = "Redis") -> Visit:
    rates = (dict.fromkeys(PHASES, rate) for rate in (ours, floor))
    return Visit(name, "rates", repetition, numbers(*rates), (5.0, 5.0), 0.1)


def results(*visits: Visit) -> Results:
    return Results(
        "today", {}, {"Redis": "7.0"}, {each.system: ("run again", "in memory") for each in visits}, [*visits]
    )


# -- timing ---------------------------------------------------------------------------------------


def test_rates_are_messages_over_seconds_of_all_rounds() -> None:
    watch = ticking()
    watch.time("bulk", 100, lambda: None)
    watch.time("bulk", 300, lambda: None)

    assert watch.rates() == {"bulk": 200.0}


def test_a_round_sends_singly_then_in_batches_and_drains_all_of_it() -> None:
    side, watch = Listed(), ticking()

    play(side, watch, Workload(singly=10, bulk=300), PAYLOADS)

    assert side.diary == ["256 sent", "44 sent", "256 taken", "54 taken"]
    assert watch.counts == {"singly": 10, "bulk": 300, "drain": 310}
    assert not side.kept


def test_our_side_hands_out_what_it_was_given_and_forgets_it(ours: Side) -> None:
    play(ours, ticking(), Workload(singly=10, bulk=300), PAYLOADS)
    play(ours, ticking(), Workload(singly=10, bulk=300), PAYLOADS)


def test_both_sides_are_measured_in_turn(ours: Side) -> None:
    diary: list[str] = []

    found = measure(Listed(diary=diary), Listed(diary=diary), Workload(1, 2, seconds=0.0), PAYLOADS)

    assert diary[-4:] == ["2 sent", "3 taken", "2 sent", "3 taken"]
    assert set(found) == {f"{phase}_{kind}" for phase in PHASES for kind in ("ours", "floor", "ratio")}


def test_rounds_begin_until_enough_time_was_measured() -> None:
    diary: list[str] = []

    measure(Listed(diary=diary), Listed(), Workload(1, 2, seconds=0.005), PAYLOADS)

    assert diary.count("2 sent") > 1


def test_other_messages_than_were_sent_are_an_error() -> None:
    with pytest.raises(Missing, match="other messages"):
        play(Listed(spoilt="somebody else's"), ticking(), Workload(1, 2), PAYLOADS)


def test_messages_that_do_not_come_out_are_an_error() -> None:
    with pytest.raises(Missing, match="0 of 3 messages"):
        Listed().drain(3)


def test_the_ratio_is_the_part_of_the_floor_that_ours_reaches() -> None:
    assert numbers({"drain": 50.0}, {"drain": 200.0}) == {"drain_ours": 50.0, "drain_floor": 200.0, "drain_ratio": 0.25}


def test_batches_hold_everything_in_its_order() -> None:
    assert [list(batch) for batch in in_batches(["a", "b", "c"], 2)] == [["a", "b"], ["c"]]


# -- tables ---------------------------------------------------------------------------------------


def test_the_ratio_is_the_median_of_the_repetitions_and_not_of_the_rates() -> None:
    text = as_markdown(results(visit(0, 10, 100), visit(1, 40, 100), visit(2, 60, 300)), DOES)

    assert "| Redis | LPOP | 40.0 (10.0–60.0) | 100 (100–300) | 0.20 (0.10–0.40) |" in text


def test_the_page_says_what_the_stand_ins_are_worth_and_names_the_chart() -> None:
    text = as_markdown(results(visit(0, 10, 100)), DOES)

    assert STAND_INS in text
    assert "](performance/rates.svg)" in text
    assert "| Redis | 7.0 | in memory | +0% |" in text


def test_a_broker_that_failed_is_told_of_and_not_in_the_tables() -> None:
    failed = Visit("RabbitMQ", "rates", 0, {}, (5.0, 5.0), 0.1, "Missing: 3 of 4 messages")
    text = as_text(results(visit(0, 10, 100), failed), DOES)

    assert text.count("RabbitMQ") == 1
    assert "Failed: RabbitMQ rates: Missing: 3 of 4 messages" in text


def test_the_chart_shows_the_ratio_of_each_broker() -> None:
    svg = chart(results(visit(0, 10, 100))) or ""

    assert ">Redis<" in svg
    assert ">0.10<" in svg
    assert 'class="ours"' in svg


def test_without_a_measurement_there_is_no_chart() -> None:
    assert chart(results()) is None
