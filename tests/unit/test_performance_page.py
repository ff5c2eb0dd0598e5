"""The numbers of docs/explanation/performance.md are medians of the measurements."""

from __future__ import annotations

import re
from pathlib import Path

EXPLANATION = Path(__file__).parents[2] / "docs" / "explanation"


def tables(text: str) -> dict[str, dict[str, str]]:
    """Of each system, the median in each column of every table, without the spread behind it."""
    found: dict[str, dict[str, str]] = {}
    head: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells or set(line) <= set("|-: "):
            continue
        if cells[0] == "system":
            head = cells
        elif head and "/" in cells[0] and len(cells) == len(head):
            found.setdefault(cells[0], {}).update(
                zip(head[1:], (cell.partition(" (")[0] for cell in cells[1:]), strict=True)
            )
    return found


def test_the_numbers_of_the_page_are_those_of_the_measurements() -> None:
    measured = tables((EXPLANATION / "performance" / "tables.txt").read_text().partition("### Ratios")[0])
    shown = tables((EXPLANATION / "performance.md").read_text())

    assert len(shown) > 10
    assert {name: {key: measured[name][key] for key in row} for name, row in shown.items()} == shown


def test_the_rates_of_the_first_sentence_are_those_of_the_table() -> None:
    page = (EXPLANATION / "performance.md").read_text()
    said = re.search(r"\*\*(\S+) empty tasks per second on Redis, (\S+) on PostgreSQL\nand (\S+) on SQLite\*\*", page)
    shown = tables(page)

    assert said is not None
    ours = ("redis", "orm-pg", "orm-sqlite")
    assert list(said.groups()) == [shown[f"django_cluster/{name}"]["settled/s"] for name in ours]
