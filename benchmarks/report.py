"""A run as tables, for a terminal and for the documentation. Text from values; nothing is read or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.metrics import METRICS, TABLES, Metric, Table
from benchmarks.results import Results, Spread
from benchmarks.targets import TARGETS, TargetResult, evaluate

OURS = "django_cluster/"
NOTHING = "–"
DISTURBED = 0.15
"""From here on a system's numbers are marked: the machine was busy with something else."""
NOISE = "Noise: how much slower a fixed loop ran around the measurements than at its best; ! = take with care."


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text, not yet drawn."""

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    """So many of its columns, the first ones, hold words and not numbers."""


# ── numbers as text ──────────────────────────────────────────────────────────────────────────────


def number(value: float) -> str:
    """Three figures are all that a measurement is worth."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def cell(spread: Spread | None) -> str:
    """Median (lowest–highest)."""
    if spread is None:
        return NOTHING
    if spread.count == 1:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)}–{number(spread.high)})"


def times(ours: float, theirs: float, *, more_is_better: bool) -> str:
    """How many times better we are; below 1 we are worse."""
    if not ours or not theirs:
        return NOTHING
    return f"{number(ours / theirs if more_is_better else theirs / ours)} ×"


# ── grids ────────────────────────────────────────────────────────────────────────────────────────


def grids(results: Results) -> list[Grid]:
    """Everything there is to say, in order."""
    measured = [_measured(table, results) for table in TABLES]
    found = [_systems(results), _targets(results), *measured, _ratios(results), _floors(results)]
    return [grid for grid in found if grid.rows]


def _systems(results: Results) -> Grid:
    rows = []
    for name in results.spreads():
        crash, kept = results.durability[name]
        version = results.versions.get(name.partition("/")[0], "")
        rows.append([name, version, crash, kept, noise_of(results, name)])
    return Grid("Systems", NOISE, ["system", "version", "a killed worker's task", "kept", "noise"], rows, words=4)


def noise_of(results: Results, name: str) -> str:
    """How much slower the machine was around these measurements than at its best."""
    disturbance = results.disturbance(name)
    return f"+{disturbance:.0%}{' !' if disturbance >= DISTURBED else ''}"


def _measured(table: Table, results: Results) -> Grid:
    spreads = results.spreads()
    metrics = [metric for metric in table.metrics if any(metric.key in by for by in spreads.values())]
    rows = [
        [name, *(cell(by.get(metric.key)) for metric in metrics)]
        for name, by in spreads.items()
        if any(metric.key in by for metric in metrics)
    ]
    return Grid(table.title, table.note, ["system", *(metric.title for metric in metrics)], rows)


RATIOS = ("enqueue", "bulk", "settled", "cpu", "latency_50", "latency_99", "idle_pss", "work", "payload")


def _ratios(results: Results) -> Grid:
    """Each peer against our set-up that is most like it."""
    spreads = results.spreads()
    metrics = [METRICS[key] for key in RATIOS]
    rows = []
    for name, theirs in spreads.items():
        ours = spreads.get(counterpart(name), {})
        if not name.startswith(OURS) and ours:
            rows.append([name, counterpart(name), *(_ratio(metric, ours, theirs) for metric in metrics)])
    note = "How many times better django_cluster is in the same run; below 1 it is worse."
    return Grid("Ratios", note, ["peer", "against", *(metric.title for metric in metrics)], rows, words=2)


def _ratio(metric: Metric, ours: dict[str, Spread], theirs: dict[str, Spread]) -> str:
    if metric.key not in ours or metric.key not in theirs:
        return NOTHING
    better = metric.more_is_better
    return times(ours[metric.key].median, theirs[metric.key].median, more_is_better=better)


def counterpart(peer: str) -> str:
    """Our set-up on the same server."""
    setup = peer.partition("/")[2]
    if "sqlite" in setup:
        return f"{OURS}orm-sqlite"
    return f"{OURS}orm-pg" if "pg" in setup else f"{OURS}redis"


def _targets(results: Results) -> Grid:
    verdicts = evaluate(TARGETS, results.spreads())
    rows = [_target_row(result) for result in verdicts if result.reached is not None]
    return Grid("Targets", "", ["set-up", "number", "goal", "ours", "reached"], rows, words=3)


def _target_row(result: TargetResult) -> list[str]:
    target, metric = result.target, METRICS[result.target.metric]
    sign = "≥" if metric.more_is_better else "≤"
    goal = number(result.goal or 0)
    if target.fixed is None:
        factor = f"{number(target.factor)} × " if target.factor != 1 else ""
        goal = f"{goal} = {factor}{target.peer}"
    return [target.ours, metric.title, f"{sign} {goal}", number(result.ours or 0), "yes" if result.reached else "no"]


def _floors(results: Results) -> Grid:
    keys = ("per_second", "cpu_us", "servers_cpu_us")
    rows = [[name, *(cell(by.get(key)) for key in keys)] for name, by in results.floor_spreads().items()]
    note = "What the bare parts can do, without a task queue around them. CPU in microseconds for each task."
    return Grid("Floors", note, ["part", "tasks/s", "CPU µs", "servers' CPU µs"], rows)


def preamble(results: Results) -> list[str]:
    """When, where and with what."""
    machine = ", ".join(results.machine.values())
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    repetitions = max((visit.repetition for visit in results.visits), default=0) + 1
    lines = [f"Measured on {results.date}: {machine}.", f"Versions: {versions}."]
    lines.append(f"Medians (lowest–highest) of {repetitions} interleaved repetitions.")
    failed = [f"{visit.system} {visit.scenario}: {visit.error.splitlines()[0]}" for visit in results.failures()]
    return [*lines, *(f"Failed: {each}" for each in failed)]


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────


def as_text(results: Results) -> str:
    """For a terminal."""
    parts = ["\n".join(preamble(results)), *(draw_text(grid) for grid in grids(results))]
    return "\n\n".join(parts) + "\n"


def draw_text(grid: Grid) -> str:
    widths = [max(len(row[column]) for row in (grid.head, *grid.rows)) for column in range(len(grid.head))]
    head, *lines = [_line(row, widths, grid.words) for row in (grid.head, *grid.rows)]
    rule = "─" * max(map(len, (head, *lines)))
    return "\n".join([grid.title, *([grid.note] if grid.note else []), rule, head, rule, *lines])


def _line(row: Sequence[str], widths: Sequence[int], words: int) -> str:
    """Words lean left, numbers right."""
    cells = list(zip(row, widths, strict=True))
    left, right = cells[:words], cells[words:]
    return "  ".join([*(text.ljust(width) for text, width in left), *(text.rjust(width) for text, width in right)])


def as_markdown(results: Results, charts: Sequence[str] = ()) -> str:
    """For the documentation; ``charts`` are the keys of tables whose chart lies beside the page."""
    by_title = {table.title: table.key for table in TABLES}
    parts = ["\n\n".join(preamble(results))]
    for grid in grids(results):
        parts.append(f"### {grid.title}")
        if grid.note:
            parts.append(grid.note)
        if (key := by_title.get(grid.title, "")) in charts:
            parts.append(f"![{grid.title}](performance/{key}.svg)")
        parts.append(draw_markdown(grid))
    return "\n\n".join(parts) + "\n"


def draw_markdown(grid: Grid) -> str:
    rule = ["---"] * grid.words + ["---:"] * (len(grid.head) - grid.words)
    return "\n".join("| " + " | ".join(row) + " |" for row in (grid.head, rule, *grid.rows))
