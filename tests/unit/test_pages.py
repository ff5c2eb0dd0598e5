"""The documentation can be read on a Git host, too: plain Markdown, links with a text, examples with their code."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from docs.fill_pages import CODE, ROOT, TEXT, filled, pages

PAGES = [*pages(), *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md"))]
FENCED = re.compile(r"^( *)(```+|~~~+).*?^\1\2$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors_of(page: Path) -> set[str]:
    """As Git hosts and MyST make them of headings."""
    headings = re.findall(r"^#{1,6} (.*)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_what_the_files_say_now(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert text == filled(text), "run: python -m docs.fill_pages"
    assert len(CODE.findall(text)) == len(re.findall(r"^ *<!-- code:", text, re.MULTILINE)), "a mark is misspelt"
    assert len(TEXT.findall(text)) == len(re.findall(r"^ *<!-- text:", text, re.MULTILINE)), "a mark is misspelt"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_is_plain_markdown(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert not re.findall(r"^ *(?:```+|~~~+|:::+)\{.*", text, re.MULTILINE), "a Git host does not know directives"
    assert not re.findall(r"(?:^|[\s(])\{[a-z:]+\}`", text), "nor roles"
    assert not re.findall(r"^\(\S+\)=$", text, re.MULTILINE), "nor labels"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_link_has_a_text_and_leads_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for words, target in LINK.findall(text):
        assert words.strip(), f"the link to {target} has no text"
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.exists(), f"{target} is not there"
        if anchor and place.suffix == ".md":
            assert anchor in anchors_of(place), f"{target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_published_is_installed_from_a_folder(page: Path) -> None:
    """An extra can be added by name where the package is installed already, and then the page says so."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if re.match(r" *\$ pip install.*django-cluster", line):
            assert "already" in line, line


def test_every_extra_is_on_the_page_that_lists_them() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")

    assert [name for name in setup["options.extras_require"] if f"`{name}`" not in page] == []


def test_a_mark_that_is_not_in_its_file_is_an_error() -> None:
    with pytest.raises(ValueError, match="once each"):
        filled('<!-- code: docs/conf.py, from "# nowhere" to "# nothing" -->\n```python\n```')
