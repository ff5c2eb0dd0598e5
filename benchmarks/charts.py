"""Bar charts as SVG, for pages in light and in dark. Text from values; no library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.metrics import METRICS, TABLES, Table
from benchmarks.report import OURS, number
from benchmarks.results import Results, Spread

WIDTH, LABELS, VALUES = 760, 190, 80
ROW, BAR, TOP = 24, 14, 44

STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#444}.title{font-size:14px;font-weight:600}"
    ".bar{fill:#9aa7b4}.ours{fill:#2f7d5b}.range{stroke:#444;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.bar{fill:#66717c}.ours{fill:#4fb286}.range{stroke:#ccc}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One system in a chart."""

    label: str
    spread: Spread
    ours: bool = False
    """Whether it is ours, whatever its label says."""


def chart_of(table: Table, results: Results) -> str | None:
    """The chart of a table, the best on top; None where it has none, or nothing was measured."""
    if not table.chart:
        return None
    metric = METRICS[table.chart]
    bars = [Bar(name, by[metric.key]) for name, by in results.spreads().items() if metric.key in by]
    bars.sort(key=lambda bar: bar.spread.median, reverse=metric.more_is_better)
    return draw(f"{table.title}: {metric.title}", bars) if bars else None


def charts(results: Results) -> dict[str, str]:
    """By the key of the table."""
    drawn = {table.key: chart_of(table, results) for table in TABLES}
    return {key: svg for key, svg in drawn.items() if svg is not None}


def draw(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars; a thin line shows how far the repetitions lie apart."""
    longest = max(bar.spread.high for bar in bars) or 1.0
    scale = (WIDTH - LABELS - VALUES) / longest
    height = TOP + ROW * len(bars) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="24">{escape(title)}</text>',
    ]
    for place, bar in enumerate(bars):
        lines += _bar(bar, TOP + ROW * place, scale)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bar(bar: Bar, top: int, scale: float) -> list[str]:
    spread, middle = bar.spread, top + BAR / 2
    kind = "ours" if bar.ours or bar.label.startswith(OURS) else "bar"
    low, high = LABELS + spread.low * scale, LABELS + spread.high * scale
    return [
        f'<text x="{LABELS - 8}" y="{top + 11}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{LABELS}" y="{top}" width="{max(1.0, spread.median * scale):.1f}" height="{BAR}"/>',
        f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>',
        f'<text x="{high + 6:.1f}" y="{top + 11}">{number(spread.median)}</text>',
    ]
