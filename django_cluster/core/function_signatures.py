"""Whether a function can be called with the given arguments: asked where a call is sent, before a worker tries it.

What is compared is what the function object itself takes. A decorator whose function takes ``*args`` and ``**kwargs``
is believed, because it may add arguments of its own before it calls what it has wrapped.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import _lru_cache_wrapper, lru_cache, partial
from types import FunctionType, MethodType
from typing import Any

from django_cluster.core.import_paths import load
from django_cluster.core.task_callable import TaskCallable
from django_cluster.errors import UnsuitableFunction

NO_NAMES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a function takes."""

    positional: tuple[str, ...]
    """Names of the parameters that can be given by position, in their order."""
    required: int
    """How many of these, from the first, have no default."""
    positional_only: int
    """How many of these, from the first, cannot be given by name."""
    keyword_only: frozenset[str]
    required_keywords: frozenset[str]
    takes_more_positional: bool
    """``*args``."""
    takes_more_keywords: bool
    """``**kwargs``."""

    def problem(self, count: int, keywords: Collection[str]) -> str:
        """Why the function cannot be called with ``count`` positional arguments and these keywords; "" if it can."""
        names = self.positional
        if not keywords and not self.required_keywords and self.required <= count <= len(names):
            return ""  # most calls
        if count > len(names) and not self.takes_more_positional:
            return f"too many positional arguments ({count}; it takes {len(names)})"
        by_name = names[self.positional_only :]
        for name in keywords:
            if name in by_name and name in names[:count]:
                return f"multiple values for argument {name!r}"
            if name not in by_name and name not in self.keyword_only and not self.takes_more_keywords:
                return f"got an unexpected keyword argument {name!r}"
        missing = [
            name
            for place, name in enumerate(names[count : self.required], count)
            if place < self.positional_only or name not in keywords
        ]
        missing += sorted(self.required_keywords.difference(keywords))
        if missing:
            words = "missing a required argument" if len(missing) == 1 else "missing required arguments"
            return f"{words}: {', '.join(map(repr, missing))}"
        return ""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of a callable."""

    unsuitable: str = ""
    """Why it cannot be a task or a hook at all."""
    parameters: Parameters | None = None
    """None: it does not tell, as some that are written in C."""


def check_function(func: Callable[..., Any] | str) -> None:
    """Raise ``UnsuitableFunction`` for what no worker can run: generators.

    A dotted path is looked at only if its module is imported already.
    """
    found = loaded(func) if isinstance(func, str) else func
    if found is not None and (reason := traits(found).unsuitable):
        raise UnsuitableFunction(f"{_name_of(func)} {reason}")


def check_call(
    func: Callable[..., Any] | str, counts: Iterable[int], keywords: Collection[str] = NO_NAMES, *, whole: bool = True
) -> str:
    """Why ``func`` cannot be called so, in a sentence that names it, without a full stop; empty if it can."""
    problem = call_problem(func, counts, keywords)
    return f"{_name_of(func)} cannot be called so: {problem}" if problem else ""


def call_problem(
    func: Callable[..., Any] | str, counts: Iterable[int], keywords: Collection[str] = NO_NAMES, *, whole: bool = True
) -> str:
    """Why ``func`` cannot be called with one of these numbers of positional arguments, and these keywords.

    Empty if it can, and if that is not known: a dotted path is looked at only if its module is imported already.
    Raises ``UnsuitableFunction`` as ``check_function``.
    """
    found = loaded(func) if isinstance(func, str) else func
    if found is None:
        return ""
    known = traits(found)
    if known.unsuitable:
        raise UnsuitableFunction(f"{_name_of(func)} {known.unsuitable}")
    if known.parameters is not None:
        for count in counts:
            if problem := known.parameters.problem(count, keywords):
                return problem
    return ""


def has_parameter(func: Callable[..., Any] | str, name: str) -> bool:
    """Whether the function names this parameter; False where that is not known (see ``call_problem``)."""
    found = loaded(func) if isinstance(func, str) else func
    known = traits(found).parameters if found is not None else None
    return known is not None and (name in known.positional[known.positional_only :] or name in known.keyword_only)


def load_function(path: str) -> Callable[..., Any]:
    """Import the function that ``path`` names, which will be called as a task or a hook.

    Raises ``UnknownFunction``, and ``UnsuitableFunction`` for what no worker can run.
    """
    func = load(path)
    if reason := traits(func).unsuitable:
        raise UnsuitableFunction(f"{path} {reason}")
    return func


def loaded(path: str) -> Callable[..., Any] | None:
    """What a dotted path names, if its module is imported; nothing is imported for it, and no code is run."""
    home, _, name = path.rpartition(".")
    names = [name]
    while home and home not in sys.modules:
        home, _, name = home.rpartition(".")
        names.insert(0, name)
    found: Any = getattr(sys.modules.get(home), "__dict__", {}).get(names[0])  # no __getattr__ of a module
    for name in names[1:]:
        found = getattr(found, name, None) if isinstance(found, type) else None
    return found if callable(found) else None


def traits(func: Callable[..., Any]) -> Traits:
    """What is known of this callable; remembered, because the same functions are sent again and again."""
    try:
        return _remembered(func)
    except TypeError:
        return _traits(func)  # it cannot be the key of a dict


def _traits(func: Callable[..., Any]) -> Traits:
    if isinstance(func, TaskCallable):
        return _of_task(func)
    if isinstance(func, _lru_cache_wrapper):
        return _traits(func.__wrapped__)
    if reason := _unsuitable(func):
        return Traits(reason)
    if isinstance(func, FunctionType):
        return Traits(parameters=_parameters(func))
    if isinstance(func, MethodType) and isinstance(func.__func__, FunctionType):
        return Traits(parameters=_parameters(func.__func__, bound=1))
    return Traits(parameters=_described(func))


_remembered = lru_cache(1024)(_traits)


def _of_task(task: TaskCallable[..., Any]) -> Traits:
    """What its callers may give: the context comes from the worker."""
    known = _traits(task.func)
    if not task.takes_context or known.parameters is None or not known.parameters.positional:
        return known
    taken = known.parameters
    rest = replace(
        taken,
        positional=taken.positional[1:],
        required=max(0, taken.required - 1),
        positional_only=max(0, taken.positional_only - 1),
    )
    return replace(known, parameters=rest)


def _unsuitable(func: Any) -> str:
    while isinstance(func, partial):
        func = func.func
    called = [func] if inspect.isroutine(func) or isinstance(func, type) else [func, type(func).__call__]
    for each in called:
        if inspect.isasyncgenfunction(each):
            return "is an async generator function: a call of it runs nothing. Give a function that goes through it."
        if inspect.isgeneratorfunction(each):
            return "is a generator function: a call of it runs nothing. Give a function that goes through it."
    return ""


def _parameters(func: FunctionType, bound: int = 0) -> Parameters:
    """From the code itself: a decorator may have given the function the signature of another.

    ``bound``: how many arguments are given already.
    """
    code, defaults = func.__code__, func.__defaults__ or ()
    count = code.co_argcount
    keyword_only = frozenset(code.co_varnames[count : count + code.co_kwonlyargcount])
    return Parameters(
        positional=code.co_varnames[bound:count],
        required=max(0, count - len(defaults) - bound),
        positional_only=max(0, code.co_posonlyargcount - bound),
        keyword_only=keyword_only,
        required_keywords=keyword_only.difference(func.__kwdefaults__ or ()),
        takes_more_positional=bool(code.co_flags & inspect.CO_VARARGS),
        takes_more_keywords=bool(code.co_flags & inspect.CO_VARKEYWORDS),
    )


def _described(func: Callable[..., Any]) -> Parameters | None:
    """From the signature, of what is no plain function; None where there is none, or one that was set by hand."""
    if getattr(func, "__signature__", None) is not None:
        return None
    try:
        given = inspect.signature(func, follow_wrapped=False).parameters.values()
    except (ValueError, TypeError):
        return None
    by_place = [each for each in given if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    keyword_only = [each for each in given if each.kind is each.KEYWORD_ONLY]
    return Parameters(
        positional=tuple(each.name for each in by_place),
        required=sum(each.default is each.empty for each in by_place),
        positional_only=sum(each.kind is each.POSITIONAL_ONLY for each in by_place),
        keyword_only=frozenset(each.name for each in keyword_only),
        required_keywords=frozenset(each.name for each in keyword_only if each.default is each.empty),
        takes_more_positional=any(each.kind is each.VAR_POSITIONAL for each in given),
        takes_more_keywords=any(each.kind is each.VAR_KEYWORD for each in given),
    )


def _name_of(func: Callable[..., Any] | str) -> str:
    if isinstance(func, str):
        return func
    return f"{getattr(func, '__module__', '')}.{getattr(func, '__qualname__', func)}".removeprefix(".")
