"""Each symptom of docs/how-to/troubleshooting.md is shown by a log event that exists, or by a command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "troubleshooting.md").read_text()
EVENTS = set(re.findall(r"^\| `(\w+)` \| [A-Z]+ \|", (DOCS / "reference" / "log-events.md").read_text(), re.MULTILINE))
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "you see" not in line]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_what_shows_a_symptom_exists(row: list[str]) -> None:
    assert len(row) == 4
    named = re.findall(r"`([^`]+)`", row[3])

    commands = {name for each in named if (name := each.removeprefix("manage.py ").split()[0]) in get_commands()}
    events = {each for each in named if each in EVENTS}

    assert len(commands) + len(events) == len(named)
    assert named or "log" in row[3] or "exit code" in row[3]


def test_there_are_events() -> None:
    assert len(EVENTS) > 40
