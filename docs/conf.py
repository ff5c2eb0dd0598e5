"""How Sphinx builds these pages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

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

# The pages are plain Markdown, so that a Git host shows them as they are. What only Sphinx needs is added here.
ROOMS = {"Learn": "tutorial", "Do": "how-to", "Look up": "reference", "Understand": "explanation"}


def add_what_sphinx_needs(app: Any, page: str, source: list[str]) -> None:
    """The table of contents, and the changelog itself in the place of a link that leads out of the folder."""
    if page == "index":
        for caption, folder in ROOMS.items():
            source[0] += f"\n```{{toctree}}\n:caption: {caption}\n:glob:\n:hidden:\n\n{folder}/*\n```\n"
    if page == "reference/changelog":
        source[0] = "```{include} ../../CHANGELOG.md\n```\n"


def setup(app: Any) -> None:
    app.connect("source-read", add_what_sphinx_needs)
