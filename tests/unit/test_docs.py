"""The docs name only proofs that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "django_cluster" / "testing"
DELIVERY = ROOT / "docs" / "explanation" / "delivery.md"


def test_every_proof_that_delivery_names_is_a_test() -> None:
    named = set(re.findall(r"`(test_\w+)`", DELIVERY.read_text()))

    existing = {
        name
        for file in [*(ROOT / "tests").rglob("test_*.py"), *CONTRACTS.rglob("*.py")]
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }

    assert named
    assert named <= existing, f"not found: {sorted(named - existing)}"
