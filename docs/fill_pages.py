"""Writes examples and tables into the pages, so that a Git host shows them as Sphinx does.

Run ``python -m docs.fill_pages`` from the root of the repository after changing a file that a page shows; a unit test
fails while a page is behind. In a page stands a comment, and the block after it belongs to this program::

    <!-- code: tests/docs/sent_tasks.py, from "# example begins" to "# example ends" -->
    <!-- code: tests/docs/sent_tasks.py, from line 4 -->
    <!-- text: docs/explanation/performance/tables.txt -->

Code is shown without the indentation that all of its lines share. A text goes up to ``<!-- end of text -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent

ROOT = Path(__file__).resolve().parent.parent
CODE = re.compile(
    r"^(?P<margin> *)<!-- code: (?P<path>\S+?)"
    r'(?:, from "(?P<start>[^"]+)" to "(?P<end>[^"]+)"|, from line (?P<line>\d+))?'
    r" -->\n(?P=margin)```python\n(?P<body>.*?)^(?P=margin)```$",
    re.DOTALL | re.MULTILINE,
)
TEXT = re.compile(r"^<!-- text: (?P<path>\S+) -->\n(?P<body>.*?)^<!-- end of text -->$", re.DOTALL | re.MULTILINE)


def pages() -> Iterator[Path]:
    """Every page of the documentation, and the README."""
    yield ROOT / "README.md"
    built = ROOT / "docs" / "_build"
    yield from sorted(each for each in (ROOT / "docs").rglob("*.md") if built not in each.parents)


def filled(page: str) -> str:
    """The text of a page, with what the files say now. Raises ``ValueError`` where a mark is not in its file."""
    return TEXT.sub(_text, CODE.sub(_code, page))


def _code(found: re.Match[str]) -> str:
    shown = _between(found) if found["start"] else _from_line(found)
    body = indent(dedent(shown).strip("\n") + "\n", found["margin"])
    return found[0][: found.start("body") - found.start()] + body + f"{found['margin']}```"


def _between(found: re.Match[str]) -> str:
    lines = (ROOT / found["path"]).read_text(encoding="utf-8").splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if found["start"] in line]
    ends = [number for number, line in enumerate(lines) if found["end"] in line]
    if len(starts) != 1 or len(ends) != 1:
        raise ValueError(f"{found['path']} does not have {found['start']!r} and {found['end']!r} once each.")
    return "".join(lines[starts[0] + 1 : ends[0]])


def _from_line(found: re.Match[str]) -> str:
    lines = (ROOT / found["path"]).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(lines[int(found["line"] or 1) - 1 :])


def _text(found: re.Match[str]) -> str:
    body = (ROOT / found["path"]).read_text(encoding="utf-8").strip("\n")
    return f"<!-- text: {found['path']} -->\n{body}\n<!-- end of text -->"


if __name__ == "__main__":
    for path in pages():
        before = path.read_text(encoding="utf-8")
        if (after := filled(before)) != before:
            path.write_text(after, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is filled anew.")  # noqa: T201  a program for people
