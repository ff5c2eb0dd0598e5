"""The sidebar of the documentation leads to every page once; the glossary is in order; files that pages name exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from docs.fill_pages import ROOT, pages
from docs.sidebar import SIDEBAR, page_of, toctrees

DOCS = ROOT / "docs"
GLOSSARY = (DOCS / "reference" / "glossary.md").read_text()
EXAMPLE_PROJECTS = ("shop/", "words/", "mysite/", "myapp/", "orders/")
"""Folders of projects that pages invent."""
SOURCES = [
    path.relative_to(ROOT).as_posix()
    for folder in ("django_cluster", "tests", "docs", "benchmarks", "example", "scripts")
    for path in (ROOT / folder).rglob("*.py")
]


def test_every_page_is_in_the_sidebar_once() -> None:
    listed = [page_of(entry) for entries in SIDEBAR.values() for entry in entries]
    existing = {page.relative_to(DOCS).with_suffix("").as_posix() for page in pages() if DOCS in page.parents}

    assert [page for page, times in Counter(listed).items() if times > 1] == []
    assert existing - {"index"} == set(listed)
    assert all(page in toctrees() for page in existing - {"index"})


def test_the_glossary_is_in_alphabetical_order_and_short() -> None:
    entries = re.findall(r"^## (.+)\n\n((?:.+\n)+)", GLOSSARY, re.MULTILINE)
    words = [word for word, _ in entries]

    assert 35 <= len(words) <= 60
    assert words == sorted(words)
    assert [word for word, text in entries if len(re.findall(r"\.(?=\s)", text)) > 2] == []


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_python_file_that_a_page_names_exists(page: Path) -> None:
    named = {name for name in re.findall(r"`([\w/.]+\.py)`", page.read_text()) if not name.startswith(EXAMPLE_PROJECTS)}

    missing = [
        name for name in named - {"manage.py"} if not any(f"/{source}".endswith(f"/{name}") for source in SOURCES)
    ]

    assert sorted(missing) == []
