"""The house stands: the contracts in setup.cfg hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
