"""The structure of the package and of its unit tests: the contracts in setup.cfg, and the names of test modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests" / "unit"
SOURCES = {"benchmarks": ROOT / "benchmarks", "example": ROOT / "example" / "census"}
"""Folders of unit tests whose modules are not in the package."""
SUBJECTS = {
    "brokers/test_brokers_page.py",
    "brokers/test_open_broker.py",
    "cluster/ipc/test_connections.py",
    "composition/test_cancelled_members.py",
    "composition/test_compositions.py",
    "composition/test_missing_results.py",
    "composition/test_repaired_members.py",
    "models/test_migrations.py",
    "schedules/test_changed_rules.py",
    "schedules/test_changed_zone_rules.py",
    "schedules/test_schedule_options.py",
    "task_objects/test_registry.py",
}
"""Unit tests of several modules, named after their subject. Those at the root are about the repository as a whole."""
LINTER = """
import sys
from importlinter import cli
sys.exit(cli.lint_imports(config_filename="setup.cfg", no_cache=True))
"""


def test_every_import_points_down() -> None:
    """In a process of its own, because the linter switches off every logger that exists."""
    checked = subprocess.run(
        [sys.executable, "-c", LINTER], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_unit_test_is_named_after_its_module() -> None:
    """``tests/unit/X/test_Y.py`` or ``test_Y_subject.py`` tests ``django_cluster/X/Y.py``, or the package ``X/Y``."""
    misplaced = []
    for path in sorted(UNIT.rglob("test_*.py")):
        name = str(path.relative_to(UNIT))
        if path.parent == UNIT or name in SUBJECTS:
            continue
        top, *rest = path.relative_to(UNIT).parent.parts
        folder = SOURCES.get(top, ROOT / "django_cluster" / top).joinpath(*rest)
        modules = {each.stem for place in (folder, folder / "commands") if place.is_dir() for each in place.iterdir()}
        if not any(path.stem == f"test_{each}" or path.stem.startswith(f"test_{each}_") for each in modules):
            misplaced.append(name)

    assert misplaced == []
