"""Another face of the admin: pages of projects that have Unfold installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("unfold") is None, reason="django-unfold is not installed")


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "TEST_DATABASE": "sqlite",
        "TEST_DATABASE_NAME": str(folder / "unfold.sqlite3"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-m", f"tests.browser.{program}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_page_opens_where_unfold_is_installed(tmp_path: Path) -> None:
    done = run("unfold_pages", tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "13 pages\n"


@pytest.mark.server("chromium")
def test_pages_can_be_used_where_unfold_is_installed(tmp_path: Path) -> None:
    """Unfold takes away the looks that a browser gives to buttons, tables and fields, and draws no title."""
    done = run("unfold_appearance", tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "good\n"
