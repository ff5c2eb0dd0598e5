"""The figures of several runs of ``qchaos`` → one table, for the terminal and for the docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = (
    *("place", "seed", "seconds", "events", "enqueued", "finished", "lost"),
    *("repeated", "unexplained", "slowest recovery", "faults"),
)
NETWORK = ("hold", "forget", "lose", "reset")


def table_of(figures: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Place → what ``qchaos --figures`` wrote there; None where it could not run. In Markdown."""
    rows = [COLUMNS, tuple("-" * len(column) for column in COLUMNS), *map(_row, figures.items())]
    widths = [max(len(row[number]) for row in rows) for number in range(len(COLUMNS))]
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def recoveries_of(figures: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Sort of event → its slowest recovery at each place, in seconds. In Markdown."""
    known = {place: said["recoveries"] for place, said in figures.items() if said}
    events = sorted({event for each in known.values() for event in each})
    rows: list[Sequence[str]] = [("event", *known), ("-----", *("-" * len(place) for place in known))]
    rows += [(event, *(f"{each[event]:.1f}" if event in each else "–" for each in known.values())) for event in events]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)


def _row(item: tuple[str, Mapping[str, Any] | None]) -> tuple[str, ...]:
    place, said = item
    if said is None:
        return (place, *["–"] * (len(COLUMNS) - 2), "it could not run")
    repeated: Mapping[str, int] = said["repeated"]
    after = f" ({said['slowest_recovery_after']})" if said["slowest_recovery"] else ""
    return (
        place,
        str(said["seed"]),
        f"{said['seconds']:g}",
        _events(said["faults"]),
        str(said["enqueued"]),
        str(said["finished"]),
        str(said["lost"]),
        str(sum(repeated.values())),
        str(repeated["none"]),
        f"{said['slowest_recovery'] or 0:.1f} s{after}",
        str(len(said["findings"])),
    )


def _events(faults: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter("network" if injected["kind"] in NETWORK else injected["kind"] for injected in faults)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
