"""The Python of the package, read once for all tests that look for something in it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1] / "django_cluster"


class Module(NamedTuple):
    """A module of the package: its path in the package, and all nodes of its syntax tree, outermost first."""

    name: str
    nodes: Sequence[ast.AST]


@cache
def modules() -> Sequence[Module]:
    """Every module of the package. Nobody may change their nodes."""
    return [
        Module(path.relative_to(PACKAGE).as_posix(), tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
