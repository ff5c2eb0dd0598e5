"""What the code of a project does that will behave otherwise than with Django-Q, found by its syntax."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from django_cluster.core.call_options import ASYNC_ITER_OPTIONS, KEYWORDS, ONLY_IN_Q_OPTIONS
from django_cluster.django_q.shim.names import MODULES, REMOVED_MODULES

PACKAGE = "django_q"
SENDERS = {"async_task", "AsyncTask"}
MIGRATIONS = Path(__file__).parents[1] / "migrations"
SQL = re.compile(
    r"\b(select|update|insert|delete|trigger|alter|truncate)\b.*\bdjango_q_(schedule|task|ormq)\b",
    re.IGNORECASE | re.DOTALL,
)
SEALED = re.compile(r"(args|kwargs|result)__(?!in$|exact$|isnull$)\w+")
SEALED_MODELS = re.compile(r"\b(Task|Success|Failure)\b")
QUERIES = {"filter", "exclude", "get"}
BROKER_METHODS = {"set_stat", "get_stat", "get_stats"}


class Finding(NamedTuple):
    """One place, and what will be otherwise there."""

    place: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence}"


def scan_file(file: Path, shown: str = "") -> Iterator[Finding]:
    """What is found in one file; ``shown``: how its path is written. A file that is no Python is skipped."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    if not any(PACKAGE in text for text in _texts(tree)):
        return
    for node in ast.walk(tree):
        for rule in RULES:
            for sentence in rule(node):
                yield Finding(f"{shown or file}:{getattr(node, 'lineno', 1)}", sentence)


def _texts(tree: ast.AST) -> Iterator[str]:
    """Names of imported modules, and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.alias):
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def imports(node: ast.AST) -> Iterator[str]:
    """Modules and names that have no counterpart."""
    if isinstance(node, ast.ImportFrom) and not node.level and _inside(node.module or ""):
        for alias in node.names:
            yield from _missing(node.module or "", alias.name)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            if _inside(alias.name):
                yield from _missing(alias.name, "*")


def _inside(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _missing(module: str, name: str) -> Iterator[str]:
    relative, inner = module.removeprefix(PACKAGE).removeprefix("."), f"{module}.{name}".removeprefix(f"{PACKAGE}.")
    for path in (relative, inner):
        if path in REMOVED_MODULES:
            yield f"{PACKAGE}.{path} {REMOVED_MODULES[path]}"
            return
    if relative.startswith("migrations"):
        return
    if relative not in MODULES:
        yield f"{module} has no counterpart."
    elif name != "*" and name not in MODULES[relative] and inner not in MODULES and inner != "migrations":
        yield f"{module}.{name} has no counterpart."


def calls(node: ast.AST) -> Iterator[str]:
    """Tasks that are sent, and schedules that are made, with what means something else here."""
    if not isinstance(node, ast.Call):
        return
    name = _name(node.func)
    given = {keyword.arg for keyword in node.keywords if keyword.arg}
    if name in SENDERS:
        yield from _function(node)
        if given & ASYNC_ITER_OPTIONS:
            yield "iter_count and iter_cached are refused: async_iter and Group collect results."
        if "q_options" in given and (both := sorted(given & KEYWORDS - {"q_options"})):
            yield f"beside q_options, {', '.join(both)} is an argument of the function, and no option."
    if name == "schedule" and "q_options" not in given and (own := sorted(given & KEYWORDS - {"hook", "cluster"})):
        yield f"{', '.join(own)} is an argument of the function, and no option of the task: give q_options."
    if name in SENDERS | {"schedule"}:
        yield from _unknown_options(node)


def _function(node: ast.Call) -> Iterator[str]:
    if not node.args:
        return
    func = node.args[0]
    if isinstance(func, ast.Lambda) or (isinstance(func, ast.Call) and _name(func.func) == "partial"):
        yield "a lambda or a partial is refused: send a function, and its arguments."
    elif isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "self":
        yield "a bound method is refused: send a function, and a key of the object."


def _unknown_options(node: ast.Call) -> Iterator[str]:
    for keyword in node.keywords:
        if keyword.arg == "q_options" and isinstance(keyword.value, ast.Dict):
            names = {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
            for unknown in sorted(map(str, names - KEYWORDS - ONLY_IN_Q_OPTIONS)):
                yield f"q_options knows no {unknown!r}, which raises TypeError; Django-Q ignored it."


def queries(node: ast.AST) -> Iterator[str]:
    """Conditions that sealed columns do not have, and methods that brokers do not have."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    if node.func.attr in QUERIES and SEALED_MODELS.search(ast.unparse(node.func)):
        for keyword in node.keywords:
            if keyword.arg and SEALED.fullmatch(keyword.arg):
                yield f"{keyword.arg}: arguments and results of tasks are sealed; only equality can be asked for."
    if node.func.attr in BROKER_METHODS:
        yield f"brokers have no {node.func.attr}: the state of clusters is in the database, see Stat."


def texts(node: ast.AST) -> Iterator[str]:
    """SQL on Django-Q's tables."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := SQL.search(node.value)):
        table = found[2].lower()
        ours = {"schedule": "schedule", "task": "task", "ormq": "queuedtask"}[table]
        yield f"SQL on django_q_{table}, which is not used any longer: change it to django_cluster_{ours}."


def dependencies(node: ast.AST) -> Iterator[str]:
    """Migrations that depend on one that Django-Q 1.3 and django-q2 1.11 do not have."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 2:
        app, name = (each.value if isinstance(each, ast.Constant) else None for each in node.elts)
        if app == PACKAGE and isinstance(name, str) and name[:4].isdigit() and name not in _known_migrations():
            yield f"a migration depends on {name} of Django-Q, which is unknown."


@cache
def _known_migrations() -> set[str]:
    return {file.stem for file in MIGRATIONS.glob("[0-9]*.py")}


def _name(func: ast.expr) -> str:
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""


RULES: tuple[Callable[[Any], Iterator[str]], ...] = (imports, calls, queries, texts, dependencies)
