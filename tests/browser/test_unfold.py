"""Another face of the admin: pages of projects that have Unfold installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.skipif(find_spec("unfold") is None, reason="django-unfold is not installed")
def test_every_page_opens_where_unfold_is_installed(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "TEST_DATABASE": "sqlite",
        "TEST_DATABASE_NAME": str(tmp_path / "unfold.sqlite3"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }

    done = subprocess.run(
        [sys.executable, "-m", "tests.browser.unfold_pages"], env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "13 pages\n"
