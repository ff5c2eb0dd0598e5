"""A run as tables and a chart. Text from values; nothing is read or written."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.brokers.rates import FLOOR, OURS, RATIO
from benchmarks.charts import Bar, draw
from benchmarks.report import NOISE, Grid, cell, draw_markdown, draw_text, noise_of, preamble
from benchmarks.results import Results

Does = Mapping[str, tuple[str, str, str]]
"""By broker, what its floor does in each phase."""

TITLES = {"singly": "Enqueue one by one", "bulk": "Enqueue in batches", "drain": "Drain in batches"}
NOTES = {
    "singly": "Each message is kept before the next is sent.",
    "bulk": "256 messages in a call.",
    "drain": "256 messages in a call. Ours: lease, then acknowledge. The floors of databases and Redis forget a message"
    " in the step that hands it out: a process that dies then has lost it. To lend it first is a second step, and where"
    " messages are on disk a second commit.",
}
STAND_INS = (
    "moto and NX-27017 are stand-ins, written in Python. Their rows say what our adapters do beside the bare client,"
    " and nothing about the speed of Amazon's SQS or of MongoDB."
)
CHART = "rates"


def grids(results: Results, does: Does) -> list[Grid]:
    return [_brokers(results), *(_phase(results, does, place, phase) for place, phase in enumerate(TITLES))]


def _brokers(results: Results) -> Grid:
    rows = [
        [name, results.versions.get(name, ""), results.durability[name][1], noise_of(results, name)]
        for name in results.spreads()
    ]
    note = f"{STAND_INS} {NOISE}"
    return Grid("Brokers", note, ["broker", "server", "what is sent is kept", "noise"], rows, words=3)


def _phase(results: Results, does: Does, place: int, phase: str) -> Grid:
    keys = [f"{phase}_{kind}" for kind in (OURS, FLOOR, RATIO)]
    rows = [
        [name, does[name][place] if name in does else "", *(cell(by.get(key)) for key in keys)]
        for name, by in results.spreads().items()
    ]
    return Grid(TITLES[phase], NOTES[phase], ["broker", "its floor", "ours/s", "floor/s", "ratio"], rows, words=2)


def chart(results: Results) -> str | None:
    """How much of its server's floor each broker reaches when it is drained; None if nothing was measured."""
    key = f"drain_{RATIO}"
    bars = [Bar(name, by[key], ours=True) for name, by in results.spreads().items() if key in by]
    return draw("Drain in batches, as a part of the server's floor", bars) if bars else None


def as_text(results: Results, does: Does) -> str:
    """For a terminal."""
    return "\n\n".join(["\n".join(preamble(results)), *map(draw_text, grids(results, does))]) + "\n"


def as_markdown(results: Results, does: Does) -> str:
    """For the documentation."""
    parts = ["\n\n".join(preamble(results))]
    for grid in grids(results, does):
        parts += [f"### {grid.title}", grid.note]
        if grid.title == TITLES["drain"]:
            parts.append(f"![{grid.title}](performance/{CHART}.svg)")
        parts.append(draw_markdown(grid))
    return "\n\n".join(parts) + "\n"
