"""How Sphinx builds these pages: ``make docs``.

The pages are plain Markdown, so that a Git host shows them too. What only Sphinx needs is added while it reads them:
the sidebar (``docs/sidebar.py``), the dark twins of pictures, and the changelog.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from django_cluster import __version__  # noqa: E402  found by the line above
from docs.sidebar import toctrees  # noqa: E402

project = "django_cluster"
author = "the django_cluster contributors"
copyright = "2026, the django_cluster contributors"
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"django_cluster {version}"
html_copy_source = html_show_sourcelink = False
pygments_style, pygments_dark_style = "friendly", "github-dark"
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#0c5a3c", "color-brand-content": "#0c6b46"},
    "dark_css_variables": {"color-brand-primary": "#7fd8ae", "color-brand-content": "#6cc9a0"},
}

PICTURE = re.compile(r"(!\[[^\]]*\]\((?P<path>[^)]+)-light\.png\))")


def add_what_sphinx_needs(app: Any, page: str, source: list[str]) -> None:
    """Add the sidebar to the first page, dark pictures beside light ones, and the text of the changelog."""
    if page == "index":
        source[0] += toctrees()
    if page == "reference/changelog":
        source[0] = "```{include} ../../CHANGELOG.md\n```\n"
    source[0] = PICTURE.sub(lambda found: _in_both_themes(found, Path(app.srcdir, page).parent), source[0])


def _in_both_themes(found: re.Match[str], folder: Path) -> str:
    """The light picture for the light theme, and its dark twin for the dark one, if there is a twin."""
    light = found[0]
    if not (folder / f"{found['path']}-dark.png").exists():
        return light
    dark = light.replace("-light.png)", "-dark.png)")
    return f"{light}{{.only-light}}\n{dark}{{.only-dark}}"


def setup(app: Any) -> None:
    app.connect("source-read", add_what_sphinx_needs)
