"""How Sphinx builds these pages."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from django_cluster import __version__  # noqa: E402  found by the line above

project = "django_cluster"
author = "the django_cluster contributors"
copyright = "2026, the django_cluster contributors"
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"django_cluster {version}"
