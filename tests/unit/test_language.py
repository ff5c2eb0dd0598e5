"""The language of the package: one name for one thing, standard terms, docstrings that stand alone."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import Module, modules

ROOT = Path(__file__).resolve().parents[2]
RETIRED = ROOT / "tests" / "retired_words.txt"
"""Names and phrases that were replaced by standard terms, one a line; the glossary of the docs has the new ones."""
FOLDERS = ("django_cluster", "tests", "docs", "example", "benchmarks", "scripts")
SUFFIXES = (".py", ".pyi", ".md", ".html", ".css", ".js", ".po", ".txt", ".cfg", ".toml", ".ini")
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "setup.cfg", "tox.ini", "pyproject.toml")

REFUSALS = {
    "django_cluster/__init__.py",
    "django_cluster/errors.py",
    "django_cluster/tasks.py",
    "tests/django_q/test_import_paths.py",
    "tests/unit/test_public_names.py",
}
"""Files that name former names in order to refuse them."""

DEMANDED_TWICE = {
    "Broker",  # of Django-Q: the base class here, and in the shim the class with Django-Q's methods
    "Cluster",  # of Django-Q: with settings here, and in the shim without
    "Command",  # Django finds the class of a command by this name
    "Sentinel",  # of Django-Q: the process that watches the others, and in the shim one that takes events
    "Media",  # Django finds the styles of an admin page by this name
    "Meta",  # Django finds the options of a model by this name
    "Migration",  # Django finds a migration by this name
    "WorkerLost",  # an error of results, and the message between processes that leads to it
    *("Task", "Success", "Failure", "Schedule"),  # of Django-Q: the tables, and their proxies under the label django_q
}

BACK_REFERENCE = re.compile(r"(As|The same|Those|Of|Whoever|Nobody|Somebody|Everybody|They|These|Their|Them)\b")
"""Beginnings of docstrings that are only understood after what stands before them."""


def texts() -> Iterator[Path]:
    """Every text file that is committed, but the list of the retired words."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and "_build" not in path.parts and path not in (RETIRED, Path(__file__)):
                yield path
    yield from (ROOT / page for page in PAGES)


def retired() -> list[str]:
    return [line for line in RETIRED.read_text().splitlines() if line and not line.startswith("#")]


def pattern_of(words: list[str]) -> re.Pattern[str]:
    """Matches any of the words as a whole; a space also stands for the end of a line."""
    parts = (r"\s+".join(map(re.escape, word.split(" "))) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![\w.])(?:{'|'.join(parts)})(?!\w)")


@pytest.mark.parametrize("folder", [*FOLDERS, "pages"])
def test_no_retired_word_is_used(folder: str) -> None:
    pattern = pattern_of(retired())
    read, found = 0, []
    for path in texts():
        name = str(path.relative_to(ROOT))
        if name in REFUSALS or folder != (name.split("/")[0] if "/" in name else "pages"):
            continue
        text = path.read_text(encoding="utf-8")
        found += [f"{name}:{text.count(chr(10), 0, hit.start()) + 1}: {hit[0]!r}" for hit in pattern.finditer(text)]
        read += 1

    assert read
    assert not found, "\n".join(found)


def test_no_public_class_name_means_two_things() -> None:
    places = defaultdict(list)
    for module in modules():
        for node in module.nodes:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module.name)

    twice = {name: found for name, found in places.items() if len(found) > 1 and name not in DEMANDED_TWICE}

    assert not twice


def docstrings(module: Module) -> Iterator[tuple[int, str]]:
    """Every string that stands alone: of modules, classes and functions, and below constants and fields."""
    for node in module.nodes:
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text.strip()


def test_a_docstring_is_understood_without_what_stands_before_it() -> None:
    found = [
        f"{module.name}:{line}: {text.splitlines()[0]}"
        for module in modules()
        for line, text in docstrings(module)
        if BACK_REFERENCE.match(text)
    ]

    assert not found, "\n".join(found)
