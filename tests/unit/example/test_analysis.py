"""What is found in one source."""

from __future__ import annotations

import pytest

from example.census.analysis import Findings, Function, analyse

SOURCE = b'''"""A module."""
import os.path
from json import loads
from . import sibling
from .cousin import aunt


class Walker:
    async def walk(self):
        import sys

        def step():
            pass

        return step
'''


def test_a_source_is_counted() -> None:
    findings = analyse(SOURCE)

    assert findings == Findings(
        lines=15,
        functions=2,
        classes=1,
        longest=Function("walk", 7),
        imports=frozenset({"os", "json", "sys"}),
    )


def test_an_empty_source_has_nothing() -> None:
    findings = analyse(b"")

    assert findings == Findings(lines=0, functions=0, classes=0, longest=None, imports=frozenset())


def test_a_declared_encoding_is_heeded() -> None:
    source = "# coding: latin-1\ndef grüße(): pass\n".encode("latin-1")

    findings = analyse(source)

    assert findings.longest == Function("grüße", 1)


def test_doubtful_code_is_counted_without_a_warning() -> None:
    findings = analyse(rb"pattern = '\d'")

    assert findings.lines == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"def (", "invalid syntax"),
        (b"# coding: uft-8\n", "unknown encoding"),
        (b"name = '\xff'\n", "decode"),
    ],
)
def test_what_is_not_python_says_why_and_where(source: bytes, reason: str) -> None:
    with pytest.raises(SyntaxError, match=reason) as caught:
        analyse(source, "broken.py")

    assert "broken.py" in str(caught.value)
