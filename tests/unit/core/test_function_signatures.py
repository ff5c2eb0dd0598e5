"""Calls that a function cannot take, and functions that no worker can run, are refused where they are sent."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cluster.core.function_signatures import call_problem, check_function, load_function, loaded, traits
from django_cluster.errors import UnknownFunction, UnsuitableFunction
from tests.sample import tasks

HERE = __name__


def plain(a: Any, b: Any = 2, *, c: Any = 3) -> None: ...
def needs_keyword(a: Any, *, c: Any) -> None: ...
def by_place(a: Any, b: Any = 2, /, c: Any = 3) -> None: ...
def by_place_with_rest(a: Any, /, **rest: Any) -> None: ...
def everything(*args: Any, **kwargs: Any) -> None: ...
def tail(a: Any, *args: Any, c: Any = 1) -> None: ...
def nothing() -> None: ...


class Order:
    def __init__(self, number: Any, colour: Any = "red") -> None: ...

    @classmethod
    def close(cls, number: Any) -> None: ...

    @staticmethod
    def burn(number: Any) -> None: ...

    def ship(self, number: Any) -> None: ...

    @classmethod
    async def wait(cls) -> None: ...


def adds_a_connection(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that gives the function one argument more than its callers do."""

    @functools.wraps(func)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return func("connection", *args, **kwargs)

    return inner


def takes_one(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator whose function has the signature of another set by hand, as some libraries do it."""

    @functools.wraps(func)
    def inner(only: Any) -> Any:
        return func()

    inner.__signature__ = inspect.signature(func)  # type: ignore[attr-defined]
    return inner


@adds_a_connection
def injected(connection: Any, number: Any) -> None: ...


@takes_one
def signed_by_hand() -> None: ...


@functools.cache
def cached(number: Any) -> None: ...


FUNCTIONS = [
    plain,
    needs_keyword,
    by_place,
    by_place_with_rest,
    everything,
    tail,
    nothing,
    Order,
    Order.close,
    Order.ship,
]


@given(
    func=st.sampled_from(FUNCTIONS),
    count=st.integers(0, 5),
    keywords=st.sets(st.sampled_from(["a", "b", "c", "number", "colour", "self", "other"])),
)
def test_it_is_as_python_says(func: Callable[..., Any], count: int, keywords: set[str]) -> None:
    try:
        func(*range(count), **dict.fromkeys(keywords))
    except TypeError:
        fits = False
    else:
        fits = True

    assert (call_problem(func, [count], keywords) == "") is fits


@pytest.mark.parametrize(
    ("func", "count", "keywords", "problem"),
    [
        (plain, 1, {"cluster"}, "got an unexpected keyword argument 'cluster'"),
        (plain, 0, (), "missing a required argument: 'a'"),
        (tasks.add, 0, (), "missing required arguments: 'a', 'b'"),
        (plain, 3, (), "too many positional arguments (3; it takes 2)"),
        (plain, 1, {"a"}, "multiple values for argument 'a'"),
        (needs_keyword, 1, (), "missing a required argument: 'c'"),
        (cached, 0, (), "missing a required argument: 'number'"),
        (Order.burn, 2, (), "too many positional arguments (2; it takes 1)"),
        (signed_by_hand, 0, (), "missing a required argument: 'only'"),
        (ord, 0, (), "missing"),  # Python has called its parameter by several names
    ],
)
def test_the_problem_is_named(func: Callable[..., Any], count: int, keywords: Any, problem: str) -> None:
    assert call_problem(func, [count], keywords).startswith(problem)


@pytest.mark.parametrize(
    ("func", "count", "keywords"),
    [
        (injected, 1, ()),  # what its decorator adds is not asked of the caller
        (injected, 0, {"number"}),
        (signed_by_hand, 1, ()),
        (print, 3, {"sep"}),
        (dict.fromkeys, 1, ()),
        (dict, 0, {"anything"}),  # has no signature
        (getattr, 3, ()),
        (Order.ship, 2, ()),
    ],
)
def test_what_python_takes_and_what_is_not_known_passes(func: Callable[..., Any], count: int, keywords: Any) -> None:
    assert call_problem(func, [count], keywords) == ""


def test_of_several_calls_each_is_looked_at() -> None:
    assert "too many" in call_problem(plain, [1, 2, 3])


# ── what no worker can run ───────────────────────────────────────────────────────────────────────


async def async_items() -> AsyncIterator[int]:
    yield 1


def items() -> Iterator[int]:
    yield 1


class Caller:
    async def __call__(self) -> AsyncIterator[int]:
        yield 1


class Maker:
    def __call__(self) -> Iterator[int]:
        yield 1


later_by_partial = functools.partial(async_items)
cached_later = functools.cache(async_items)
caller = Caller()
caller_by_partial = functools.partial(Caller())
maker = Maker()
UNSUITABLE = [
    *("async_items", "items", "later_by_partial", "cached_later", "caller", "caller_by_partial", "maker"),
]


@pytest.mark.parametrize("name", UNSUITABLE)
def test_generators_are_refused_by_their_paths_too(name: str) -> None:
    words = "generator" if name in ("items", "maker") else "async"
    for ask in (check_function, lambda path: call_problem(path, [0]), load_function):
        with pytest.raises(UnsuitableFunction, match=f"{re.escape(HERE)}.{name} is an? {words}"):
            ask(f"{HERE}.{name}")


def test_the_refusal_is_a_type_error_and_an_unknown_function() -> None:
    with pytest.raises(TypeError):
        check_function(items)
    with pytest.raises(UnknownFunction):
        check_function(items)


@adds_a_connection
def runs_it(connection: str) -> None:
    """A plain function, whatever it wraps."""


def test_a_coroutine_function_is_suitable_and_its_parameters_are_known() -> None:
    check_function(Order.wait)
    assert "too many" in call_problem(f"{HERE}.Order.wait", [3])


def test_a_plain_function_is_suitable() -> None:
    check_function(runs_it)
    check_function(Order)
    check_function(print)
    assert load_function(f"{HERE}.plain") is plain


# ── paths ────────────────────────────────────────────────────────────────────────────────────────


def test_a_path_is_looked_up_where_its_module_is_imported() -> None:
    assert loaded(f"{HERE}.plain") is plain
    assert loaded(f"{HERE}.Order.close") == Order.close
    assert "cluster" in call_problem(f"{HERE}.plain", [1], {"cluster"})


@pytest.mark.parametrize(
    "path", ["antigravity.geohash", "nowhere.at.all", f"{HERE}.missing", f"{HERE}.HERE", f"{HERE}.caller.missing", "x"]
)
def test_what_is_not_there_is_not_known(path: str) -> None:
    assert loaded(path) is None
    assert call_problem(path, [99], {"anything"}) == ""
    assert "antigravity" not in sys.modules


def test_no_code_of_a_module_is_run_for_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lazy_module")
    asked: list[str] = []
    module.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", module)

    assert loaded("lazy_module.task") is None
    assert asked == []


def test_a_callable_that_cannot_be_remembered_is_looked_at_each_time() -> None:
    class Unhashable(SimpleNamespace):
        __hash__ = None

        def __call__(self, number: Any) -> None: ...

    parameters = traits(Unhashable()).parameters
    assert parameters is not None
    assert parameters.positional == ("number",)
