"""Writes the reference pages of API, signals, errors and command options from docstrings and parsers.

Run ``python -m docs.generate_api`` from the root of the repository after changing a public docstring or signature; a
unit test fails while a page is out of date.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from argparse import Action, ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, get_commands, load_command_class
from django.utils.translation import override

from docs.generate_settings import row, table

REFERENCE = Path(__file__).parent / "reference"
WIDTH = 100
"""Characters of a signature that stands on one line."""
NOTICE = (
    "<!-- Written by docs/generate_api.py from the docstrings of django_cluster. Change those, and run it again. -->"
)

MODULES = (
    ("django_cluster.tasks", "Send tasks and read their results"),
    ("django_cluster.decorators", "Declare schedules"),
    ("django_cluster.control", "Operate"),
    ("django_cluster.testing", "Test"),
)
"""Modules whose ``__all__``, or public functions, the page lists, and the titles of their sections."""

API_HEAD = """\
# API

Times are in seconds, but for `wait` of the functions that read results: milliseconds, as in Django-Q.
`from django_cluster import …` offers: {names}.
"""

SIGNALS_HEAD = """\
# Signals

The signals are in `django_cluster.signals`. Their sender is the string `"django_cluster"`. If a receiver raises,
this is logged; it changes nothing else.
"""

OPTIONS_HEAD = """\
# Options of the commands

All options of the commands of `manage.py`, as `--help` prints them. [Commands](commands.md) explains the commands,
their signals and their exit codes. All have Django's own options too, such as `--settings` and `--skip-checks`.
"""

ERRORS_HEAD = """\
# Errors

All exceptions are in `django_cluster.errors`. `except ClusterError` catches all that the package raises on purpose,
except `TaskTimeout` and what a task raises to say how it ends (`TaskDirective`). The text of an exception that is
raised without a message is the first sentence of its description.
"""


def api_page() -> str:
    """The page of functions and classes."""
    root = import_module("django_cluster")
    names = ", ".join(f"`{name}`" for name in sorted(root.__all__, key=str.lower) if name != "__version__")
    head = [NOTICE, "", API_HEAD.format(names=names)]
    return "\n".join([*head, *_objects(root), *(_module(*each) for each in MODULES)])


def _objects(root: Any) -> Iterator[str]:
    """The public names that no module of ``MODULES`` lists."""
    listed = {name for path, _title in MODULES for name in public_names(import_module(path))}
    yield "## Task objects and the cluster\n"
    for name in sorted(set(root.__all__) - listed - {"__version__"}, key=str.lower):
        found = getattr(root, name)
        if found.__module__ != "django_cluster.errors":
            yield from _entry(name, found)


def _module(path: str, title: str) -> str:
    module = import_module(path)
    head = [f"## {title}", "", f"`{path}`: {first_paragraph(module)}", ""]
    entries = [line for name in public_names(module) for line in _entry(name, getattr(module, name))]
    return "\n".join([*head, *entries])


def public_names(module: Any) -> list[str]:
    """``__all__``, or the functions and classes that the module defines without an underscore."""
    if hasattr(module, "__all__"):
        names = [name for name in module.__all__ if callable(getattr(module, name))]
    else:
        names = [
            name
            for name, found in vars(module).items()
            if not name.startswith("_") and callable(found) and getattr(found, "__module__", "") == module.__name__
        ]
    return sorted(names, key=lambda name: (name.lower(), name))


def _entry(name: str, found: Any, level: str = "###") -> Iterator[str]:
    yield from (
        f"{level} {name}",
        "",
        "```python",
        f"{'class ' * inspect.isclass(found)}{call_of(name, found)}",
        "```",
        "",
    )
    if text := description(found):
        yield from (text, "")
    for method, function in _methods(found) if inspect.isclass(found) else ():
        yield from _method(method, function)


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """(name, method or property). A second name of the same method is a str: the first name."""
    first: dict[int, str] = {}
    inside = f"{kind.__module__}."  # a base from a module of the package that shows the class is a part of it
    parts = [each for each in reversed(kind.__mro__) if each is kind or each.__module__.startswith(inside)]
    for name, value in (item for part in parts for item in vars(part).items()):
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property | classmethod)):
            known = first.setdefault(id(value), name)
            yield name, value if known == name else known


def _method(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (f"- `{name}`: the same as `{value}`", "")
        return
    if isinstance(value, property):
        head, value = name, value.fget
    else:
        value = value.__func__ if isinstance(value, classmethod) else value
        head = call_of(name, value, skip=1)
    text = " ".join(description(value).split())
    yield f"- `{head}`" + (f": {text}" if text else "")
    yield ""


def _values(kind: type[Enum]) -> list[str]:
    return [str(member.value) for member in kind]


def call_of(name: str, found: Any, *, skip: int = 0) -> str:
    """The signature as it is written in the code, on one line or with a line for each parameter."""
    if inspect.isclass(found) and issubclass(
        found, Enum
    ):  # what inspect says of enums differs from one Python to the next
        return f"{name}({', '.join(map(repr, _values(found)))})"
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return name
    parts: list[str] = []
    starred = False
    for parameter in list(signature.parameters.values())[skip:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts, starred = [*parts, "*"], True
        starred = starred or parameter.kind is parameter.VAR_POSITIONAL
        parts.append(_parameter(parameter))
    returns = (
        ""
        if signature.return_annotation is signature.empty or inspect.isclass(found)
        else f" -> {_annotation(signature.return_annotation)}"
    )
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= WIDTH or skip:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){returns}"])


def _parameter(parameter: inspect.Parameter) -> str:
    kinds: dict[Any, str] = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    stars = kinds.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        default = parameter.default
        text += f" = {default.__name__ if inspect.isclass(default) else repr(default)}"
    return text


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def description(found: Any) -> str:
    """The docstring, with code marked as in Markdown; nothing that a dataclass or a base class has written."""
    own = found.__dict__.get("__doc__") if inspect.isclass(found) else found.__doc__
    text = inspect.cleandoc(own) if own and not re.match(r"\w+\(", own) else ""
    return text.replace("``", "`")


def first_paragraph(found: Any) -> str:
    return " ".join(inspect.cleandoc(found.__doc__ or "").partition("\n\n")[0].replace("``", "`").split())


# ── signals and errors ───────────────────────────────────────────────────────────────────────────


def signals_page() -> str:
    """The page of signals: a docstring stands below each of them."""
    source = (Path(__file__).parents[1] / "django_cluster" / "signals.py").read_text()
    lines = [NOTICE, "", SIGNALS_HEAD]
    statements = ast.parse(source).body
    for statement, following in pairwise(statements):
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            assert isinstance(following, ast.Expr)
            assert isinstance(following.value, ast.Constant)
            name = statement.targets[0]
            assert isinstance(name, ast.Name)
            lines += [f"## {name.id}", "", inspect.cleandoc(str(following.value.value)).replace("``", "`"), ""]
    return "\n".join(lines)


def errors_page() -> str:
    """The page of errors: the tree, then each with its description."""
    errors = import_module("django_cluster.errors")
    roots = (errors.ClusterError, errors.TaskDirective, errors.TaskTimeout)
    tree = [line for root in roots for line in _tree(root)]
    lines = [NOTICE, "", ERRORS_HEAD, "```text", *tree, "```", ""]
    for root in roots:
        for kind in _descendants(root):
            lines += [
                f"## {kind.__name__}",
                "",
                *([f"`{call_of(kind.__name__, kind)}`", ""] if "__init__" in vars(kind) else []),
            ]
            lines += [description(kind), ""]
    return "\n".join(lines)


def _tree(kind: type, depth: int = 0) -> Iterator[str]:
    yield f"{'    ' * depth}{kind.__name__}"
    for child in _children(kind):
        yield from _tree(child, depth + 1)


def _children(kind: type) -> Sequence[type]:
    children: list[type] = kind.__subclasses__()
    return [child for child in children if child.__module__ == kind.__module__ and child.__bases__[0] is kind]


def _descendants(kind: type) -> Iterator[type]:
    yield kind
    for child in _children(kind):
        yield from _descendants(child)


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def options_page() -> str:
    """The page of the options of all commands, from their parsers."""
    lines = [NOTICE, "", OPTIONS_HEAD]
    with override("en"):
        common = {option for action in _parser(BaseCommand())._actions for option in action.option_strings}
        for name in sorted(name for name, app in get_commands().items() if app == "django_cluster"):
            command = load_command_class("django_cluster", name)
            lines += [f"## {name}", "", str(command.help), "", *_options(_parser(command), common)]
    return "\n".join(lines)


def _parser(command: BaseCommand) -> ArgumentParser:
    return command.create_parser("manage.py", "")


def _options(parser: ArgumentParser, common: set[str]) -> Iterator[str]:
    rows = [
        row(_option(each), _help(parser, each))
        for each in parser._actions
        if not common.issuperset(each.option_strings) or not each.option_strings
    ]
    if rows:
        yield from (*table(("option", "does"), rows), "")
    if parser.epilog:
        yield from (str(parser.epilog), "")


def _option(action: Action) -> str:
    names = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar or action.dest}`"
    value = action.metavar or (" ".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return f"{names} {value}" if action.nargs != 0 and action.option_strings else names


def _help(parser: ArgumentParser, action: Action) -> str:
    return str(action.help or "") % {**vars(action), "prog": parser.prog}


PAGES: dict[str, Callable[[], str]] = {
    "api.md": api_page,
    "signals.md": signals_page,
    "errors.md": errors_page,
    "command-options.md": options_page,
}


def write() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django_settings")
    django.setup()
    write()
