"""Functions are found again by their path, or it is said why not."""

from __future__ import annotations

import builtins
import math
import sys
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from django_cluster.core.import_paths import dotted_path, load
from django_cluster.errors import ClusterError, UnknownFunction
from tests.sample import tasks


class Ledger:
    class Page:
        @staticmethod
        def number() -> int:
            return 1

    @classmethod
    def opened(cls) -> str:
        return cls.__name__

    def close(self) -> None:
        """An ordinary method."""

    def __call__(self) -> None:
        """An object that can be called."""


class Journal(Ledger):
    pass


def shouting(func: Callable[..., str]) -> Callable[..., str]:
    @wraps(func)
    def wrapper(*args: Any) -> str:
        return func(*args).upper()

    return wrapper


@shouting
def decorated() -> str:
    return "found"


def shadowed() -> int:
    return 1


first_shadowed = shadowed


def shadowed() -> int:  # type: ignore[no-redef]
    return 2


@pytest.mark.parametrize(
    ("func", "path"),
    [
        (tasks.add, "tests.sample.tasks.add"),
        (print, "builtins.print"),
        (math.floor, "math.floor"),
        (Decimal, "decimal.Decimal"),
        (str.upper, "builtins.str.upper"),
        (datetime.fromisoformat, "datetime.datetime.fromisoformat"),
        (OrderedDict.fromkeys, "collections.OrderedDict.fromkeys"),
        (Ledger.opened, f"{__name__}.Ledger.opened"),
        (Journal.opened, f"{__name__}.Journal.opened"),
        (Ledger.close, f"{__name__}.Ledger.close"),
        (Ledger.Page.number, f"{__name__}.Ledger.Page.number"),
        (decorated, f"{__name__}.decorated"),
    ],
)
def test_a_function_has_a_path_by_which_it_is_found_again(func: Callable[..., Any], path: str) -> None:
    assert dotted_path(func) == path
    assert load(path) == func


@pytest.mark.parametrize("path", ["app.tasks.send", "another.program.altogether"])
def test_a_path_is_taken_as_it_is(path: str) -> None:
    assert dotted_path(path) == path


def test_a_bare_name_is_that_of_a_builtin() -> None:
    assert dotted_path("print") == "builtins.print"
    assert load("print") is builtins.print


def nested() -> Callable[..., Any]:
    def inner() -> None:
        """Gone with its frame."""

    return inner


@pytest.mark.parametrize(
    ("func", "words"),
    [
        (lambda: None, "A lambda has no name"),
        (nested(), "is defined inside a function"),
        (partial(print, 1), "A partial has no path"),
        (Ledger().close, "is bound to an object"),
        ([].append, "is bound to an object"),
        (Ledger(), "is an object, not a function"),
        (first_shadowed, "cannot be found again as"),
        (7, "is not a function, nor the dotted path of one"),
        ("app/tasks.py", "is not a dotted path"),
        ("", "is not a dotted path"),
        ("app..send", "is not a dotted path"),
        ("app.tasks:send", r"Did you mean 'app\.tasks\.send'\?"),
        ("app.tasks.send()", r"Did you mean 'app\.tasks\.send'\?"),
        ("nope", "'nope' is neither a dotted path such as 'app.tasks.send', nor a built-in function"),
    ],
)
def test_what_no_other_process_could_find_is_refused_in_a_sentence(func: Any, words: str) -> None:
    with pytest.raises(UnknownFunction, match=words):
        dotted_path(func)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere_to_be_found.tasks.send", "there is no module nowhere_to_be_found"),
        ("__main__.missing_here", "put it into a module that both can import"),
        ("tests.sample.missing.send", r"the module tests\.sample has no missing"),
        ("tests.sample.tasks.missing", r"the module tests\.sample\.tasks has no missing"),
        ("decimal.Decimal.missing", "Decimal has no missing"),
        ("math.pi", "is not a function: it is of type float"),
        ("not a path", "is not a dotted path"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str, words: str) -> None:
    with pytest.raises(UnknownFunction, match=words) as caught:
        load(path)

    assert isinstance(caught.value, ClusterError)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('no settings')", "raised RuntimeError: no settings"),
        ("import nowhere_to_be_found", "raised ModuleNotFoundError"),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
        ("def f(:", "raised SyntaxError"),
    ],
)
def test_a_module_that_raises_when_imported_is_named_with_its_error(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(UnknownFunction, match=rf"importing {name} {words}") as caught:
        load(f"{name}.f")

    assert caught.value.__cause__ is not None


def test_a_module_is_found_behind_a_function_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shadowing_package"
    package.mkdir()
    (package / "__init__.py").write_text("from shadowing_package.send import send\n")
    (package / "send.py").write_text("def send(): return 'sent'\n\n\ndef other(): return 'other'\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert load("shadowing_package.send.other")() == "other"
    assert load("shadowing_package.send")() == "sent"


def test_a_function_that_was_missing_is_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "late_module.py"
    module.write_text("")
    with pytest.raises(UnknownFunction):
        load("late_module.f")

    sys.modules["late_module"].f = print  # type: ignore[attr-defined]  # it has come by now

    assert load("late_module.f") is print
