"""Arguments as the text in which a schedule keeps them: ``(1, 'x', [2])`` and ``{'x': 2, 'y': '3'}``, as Django-Q does.

People may also write ``1, 'x', [2]`` and ``x=2, y='3'``. Nothing is ever evaluated. The text is parsed, and only
these forms are understood, inside each other as deep as one likes:

- numbers, text, bytes, ``True``, ``False``, ``None``, ``...``; lists, tuples, sets and dicts of them;
- calls of ``set``, ``frozenset``, ``float``, ``complex``, ``Decimal``, ``UUID``, ``datetime``, ``date``, ``time``,
  ``timedelta``, ``timezone`` and ``ZoneInfo``, with or without their module: ``datetime.date(2026, 1, 2)``;
- ``timezone.utc`` and ``UTC``.

What cannot be kept faithfully is refused with ``NotSerializable``; a text that cannot be read, with ``ValueError``.
"""

from __future__ import annotations

import ast
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django_cluster.errors import NotSerializable

_HOMES: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "builtins": (set, frozenset, float, complex),
    "datetime": (datetime, date, time, timedelta, timezone),
    "decimal": (Decimal,),
    "uuid": (UUID,),
    "zoneinfo": (ZoneInfo,),
}
_CALLS: dict[str, Callable[..., Any]] = {
    name: kind
    for module, kinds in _HOMES.items()
    for kind in kinds
    for name in (kind.__name__, f"{module}.{kind.__name__}")
}
_CONSTANTS = dict.fromkeys(("timezone.utc", "datetime.timezone.utc", "datetime.UTC", "UTC"), UTC)

_REFUSED = (ValueError, TypeError, KeyError, ArithmeticError, OSError, RecursionError, MemoryError, SyntaxError)
"""Exceptions that parsing a text, or building its value, may raise."""


def args_to_text(args: Sequence[object]) -> str:
    """``(1, "x")`` → ``(1, 'x')``, which is also what Python makes of plain values."""
    pieces = _written(list(args))
    text = f"({pieces[0]},)" if len(pieces) == 1 else f"({', '.join(pieces)})"
    _prove(pieces, lambda: args_from_text(text))
    return text


def args_from_text(text: str | None) -> tuple[Any, ...]:
    """``1, 'x'`` → ``(1, "x")``; a text that is one tuple as a whole, ``(1, 'x')``, means the same."""
    if not text:
        return ()
    node = _parsed(f"({text}\n)", "arguments", text)
    value = _understood(node, text)
    return value if isinstance(node, ast.Tuple) else (value,)


def kwargs_to_text(kwargs: Mapping[str, object]) -> str:
    """``{"x": 2}`` → ``{'x': 2}``."""
    pieces = _written(list(kwargs.values()))
    text = f"{{{', '.join(f'{name!r}: {text}' for name, text in zip(kwargs, pieces, strict=True))}}}"
    _prove(pieces, lambda: kwargs_from_text(text).values())
    return text


def kwargs_from_text(text: str | None) -> dict[str, Any]:
    """``x=2`` or ``{'x': 2}`` → ``{"x": 2}``."""
    if not text:
        return {}
    if text.lstrip().startswith("{"):
        found = _understood(_parsed(f"({text}\n)", "keyword arguments", text), text)
        if isinstance(found, dict) and all(isinstance(name, str) for name in found):
            return found
        raise ValueError(f"The keyword arguments {text!r} are not a dict with names as its keys.")
    node = _parsed(f"_({text}\n)", "keyword arguments", text)
    plain = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args
    if not isinstance(node, ast.Call) or not plain or not all(each.arg for each in node.keywords):
        raise ValueError(f"The keyword arguments {text!r} are not of the form x=1, y='two'.")
    pairs = [(each.arg or "", _understood(each.value, text)) for each in node.keywords]
    if len(dict(pairs)) != len(pairs):
        raise ValueError(f"The keyword arguments {text!r} name an argument twice.")
    return dict(pairs)


def _parsed(source: str, what: str, text: str | None) -> ast.expr:
    try:
        return ast.parse(source, mode="eval").body
    except _REFUSED as error:
        reason = str(getattr(error, "msg", error)).rstrip(".?")  # Python may end with "Perhaps you forgot a comma?"
        raise ValueError(f"The {what} {text!r} cannot be read: {reason}.") from error


def _understood(node: ast.expr, text: str | None) -> Any:
    try:
        return _value(node)
    except _REFUSED as error:
        raise ValueError(f"{text!r} cannot be understood: {error}") from error


def _value(node: ast.expr) -> Any:
    """The value of a node. Raises ``ValueError`` if its form is not allowed."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.Set(elts=items):
            return {_value(item) for item in items}
        case ast.Dict(keys=keys, values=values):
            return _dict(keys, values)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _number(operand)
            return -number if isinstance(sign, ast.USub) else +number
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=ast.Constant(value=complex() as imaginary)):
            return _number(left) + imaginary if isinstance(sign, ast.Add) else _number(left) - imaginary
        case ast.Call(func=func, args=args, keywords=keywords):
            return _call(func, args, keywords)
        case ast.Name() | ast.Attribute() if ast.unparse(node) in _CONSTANTS:
            return _CONSTANTS[ast.unparse(node)]
    raise ValueError(f"{ast.unparse(node)} is not a literal value, nor one of the known calls.")


def _dict(keys: Sequence[ast.expr | None], values: Sequence[ast.expr]) -> dict[Any, Any]:
    pairs = [(_value(key), _value(value)) for key, value in zip(keys, values, strict=True) if key is not None]
    found = dict(pairs)
    if len(found) != len(keys):
        raise ValueError("A dict holds a key twice, or another dict by **.")
    return found


def _number(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp):
        return _value(node)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, complex):
        return node.value
    raise ValueError(f"{ast.unparse(node)} is not a number.")


def _call(func: ast.expr, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> Any:
    name = ast.unparse(func)
    if name not in _CALLS:
        raise ValueError(f"{name} is not one of the known calls.")
    if any(keyword.arg is None for keyword in keywords):
        raise ValueError(f"{name} is called with **.")
    named = {str(keyword.arg): _value(keyword.value) for keyword in keywords}
    return _CALLS[name](*(_value(arg) for arg in args), **named)


def _written(values: Iterable[object]) -> list[str]:
    try:
        return [_text(value) for value in values]
    except RecursionError:
        raise NotSerializable("An argument is nested too deeply to be kept as text, or holds itself.") from None
    except ValueError as error:
        raise NotSerializable(f"An argument cannot be kept as text: {error}") from error


def _prove(pieces: Sequence[str], read: Callable[[], Iterable[object]]) -> None:
    """Check that the text can be read back. Raises ``NotSerializable`` now instead of when the schedule is due."""
    try:
        again = _written(read())
    except ValueError as error:
        raise NotSerializable(f"The arguments cannot be kept as text: {error}") from error
    if again != list(pieces):
        raise NotSerializable("The arguments cannot be kept as text: they would come back as others.")


def _text(value: object) -> str:
    """The text of a value of exactly one of the known types: a subclass would come back as another thing."""
    kind = type(value)
    if kind in _WRITERS:
        return _WRITERS[kind](value)
    if callable(value):
        raise NotSerializable(
            f"{reprlib.repr(value)} cannot be kept as text in a schedule: give its dotted path, and look it up there."
        )
    raise NotSerializable(
        f"{reprlib.repr(value)} of type {kind.__module__}.{kind.__qualname__} cannot be kept as text in a schedule: "
        "give what finds it instead, such as its primary key."
    )


def _float(value: float) -> str:
    return repr(value) if isfinite(value) else f"float('{value!r}')"


def _with_zone(value: Any) -> str:
    """A datetime or time, if its zone is one that can be named."""
    _text(value.tzinfo)
    return repr(value)


def _zone(value: Any) -> str:
    if value.key is None:
        raise NotSerializable("A ZoneInfo that was read from a file has no name, and cannot be kept as text.")
    return repr(value)


def _all(items: Any) -> str:
    return ", ".join(_text(item) for item in items)


def _any_order(items: Any) -> str:
    return ", ".join(sorted(_text(item) for item in items))


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    **dict.fromkeys((int, bool, str, bytes, type(None), type(...), date, timedelta, timezone, UUID, Decimal), repr),
    type(...): lambda _: "...",
    float: _float,
    complex: lambda value: f"complex({_float(value.real)}, {_float(value.imag)})",
    list: lambda items: f"[{_all(items)}]",
    tuple: lambda items: f"({_all(items)},)" if items else "()",
    set: lambda items: f"{{{_any_order(items)}}}" if items else "set()",
    frozenset: lambda items: f"frozenset({{{_any_order(items)}}})" if items else "frozenset()",
    dict: lambda items: f"{{{', '.join(f'{_text(key)}: {_text(value)}' for key, value in items.items())}}}",
    datetime: _with_zone,
    time: _with_zone,
    ZoneInfo: _zone,
}
