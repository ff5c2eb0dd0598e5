"""What one source file contains: bytes in, findings out. Knows no file, no task and no table."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Function(NamedTuple):
    """A function and its length in lines."""

    name: str
    lines: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What was counted in one file."""

    lines: int
    functions: int
    classes: int
    longest: Function | None
    """The longest function, if there is one."""
    imports: frozenset[str]
    """The top-level modules that the file imports."""


def analyse(source: bytes, name: str = "<source>") -> Findings:
    """Raises ``SyntaxError`` or ``ValueError`` for a source that is not Python; ``name`` is for its message."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a census does not criticise
        tree = ast.parse(source, name)
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return Findings(
        lines=len(source.splitlines()),
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        longest=max(map(_measured, functions), key=lambda function: function.lines, default=None),
        imports=frozenset(module for node in nodes for module in _imported(node)),
    )


def _measured(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    return Function(node.name, (node.end_lineno or node.lineno) - node.lineno + 1)


def _imported(node: ast.AST) -> Iterator[str]:
    """Top-level names; a relative import stays within its own package."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]
