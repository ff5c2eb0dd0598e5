"""The docs name only proofs that exist."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "django_cluster" / "testing"
EXPLANATION = ROOT / "docs" / "explanation"
DEFECTS = range(1, 47)
"""The numbers of Django-Q's known defects."""


@pytest.mark.parametrize("page", ["delivery.md", "defects-of-django-q.md"])
def test_every_proof_that_a_page_names_is_a_test(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (EXPLANATION / page).read_text()))

    existing = {
        name
        for file in [*(ROOT / "tests").rglob("test_*.py"), *CONTRACTS.rglob("*.py")]
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }

    assert named
    assert named <= existing, f"not found: {sorted(named - existing)}"


def test_every_defect_of_django_q_has_its_line_and_its_proof() -> None:
    page = (EXPLANATION / "defects-of-django-q.md").read_text()

    lines = re.findall(r"^\| (\d+) \|.*\| `test_\w+`.*\|$", page, re.MULTILINE)

    assert [int(number) for number in lines] == list(DEFECTS)


def test_the_layers_of_the_architecture_page_are_those_that_are_checked() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["importlinter:contract:layers"]["layers"].strip().splitlines()
    checked = [
        {name.strip().removeprefix("django_cluster.") for name in line.split("|") if "(" not in name} for line in lines
    ]

    drawing = (EXPLANATION / "architecture.md").read_text().partition("## Layers")[2].split("```")[1]
    drawn = [set(re.split(r"  ", line.strip())[0].split(" · ")) for line in drawing.strip().splitlines()]

    assert drawn == checked


def test_the_first_version_fits_on_one_screen_of_the_changelog() -> None:
    section = (ROOT / "CHANGELOG.md").read_text().partition("## 0.1.0")[2].partition("\n## ")[0]

    assert 0 < len(section.splitlines()) <= 40, "say what the package is, not how it became so"
