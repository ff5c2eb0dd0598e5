"""Types of values of settings, in words and in code.

A ``ValueType`` converts a value as it is written into the value that the code uses, or raises ``InvalidValue``. Its
words complete the sentence "workers must be …", and are shown in the reference.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

MAX_SECONDS = 31_557_600_000
"""A thousand years, in seconds: the longest duration of a setting. Beyond it, the arithmetic of dates fails."""


LITERALS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "none": None}


class InvalidValue(ValueError):
    """The value is not of this type. A message, if there is one, replaces the standard sentence."""


def as_json(text: str) -> Any:
    """Parse JSON, or a word such as ``yes``; anything else is text."""
    if text.lower() in LITERALS:
        return LITERALS[text.lower()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def as_flag(text: str) -> Any:
    return {"1": True, "0": False}.get(text, as_json(text))


def as_text(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class ValueType:
    """The type of the value of a setting."""

    words: str
    convert: Callable[[Any], Any]
    read: Callable[[str], Any] = as_json
    """The text of an environment variable → the value as it would be written in Python."""


def short_repr(value: object) -> str:
    """A short ``repr`` of any value. Never raises."""
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001  a repr of the user's may raise anything
        return f"a {type(value).__name__}"


def flag() -> ValueType:
    def convert(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        raise InvalidValue

    return ValueType("True or False", convert, as_flag)


def integer(minimum: int | None = None) -> ValueType:
    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidValue
        if minimum is not None and value < minimum:
            raise InvalidValue
        return value

    return ValueType("a whole number" if minimum is None else f"a whole number of at least {minimum}", convert)


def integer_or_auto() -> ValueType:
    count = integer(1)

    def convert(value: Any) -> int | None:
        return None if value == "auto" else int(count.convert(value))

    return ValueType(f"{count.words}, or 'auto'", convert)


def number(minimum: float, maximum: float) -> ValueType:
    def convert(value: Any) -> float:
        result = finite_number(value)
        if not minimum <= result <= maximum:
            raise InvalidValue
        return result

    return ValueType(f"a number from {minimum:g} to {maximum:g}", convert)


def number_or_path(minimum: float, maximum: float) -> ValueType:
    """A number, or the dotted path of a function that returns one."""
    plain = number(minimum, maximum)

    def convert(value: Any) -> float | str:
        if isinstance(value, str) and all(part.isidentifier() for part in value.split(".")) and "." in value:
            return value
        return float(plain.convert(value))

    return ValueType(f"{plain.words}, or the dotted path of a function", convert)


def seconds(*, zero: bool = False, below: float | None = None) -> ValueType:
    """A duration in seconds; ``zero``: whether 0 is allowed."""
    words = f"a number of seconds (or a timedelta) {'of at least 0' if zero else 'above 0'}"

    def convert(value: Any) -> float:
        result = value.total_seconds() if isinstance(value, timedelta) else finite_number(value)
        if result < 0 or (result == 0 and not zero) or (below is not None and result >= below):
            raise InvalidValue
        if result > MAX_SECONDS:
            raise InvalidValue("is longer than a thousand years.")
        return float(result)

    return ValueType(words if below is None else f"{words} and below {below:g}", convert)


def finite_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidValue
    try:
        result = float(value)
    except OverflowError:
        raise InvalidValue from None
    if not math.isfinite(result):
        raise InvalidValue
    return result


def flag_or_seconds() -> ValueType:
    def convert(value: Any) -> bool | int:
        if isinstance(value, bool):
            return value
        result = seconds(zero=True).convert(value)
        return math.ceil(result) or False

    return ValueType("True, False, or a number of seconds", convert)


def flag_or_bytes() -> ValueType:
    def convert(value: Any) -> bool | int:
        return value if isinstance(value, bool) else integer(1).convert(value)

    return ValueType("True, False, or a number of bytes", convert)


def text() -> ValueType:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise InvalidValue
        return value

    return ValueType("text that is not empty", convert, as_text)


def name_parts() -> ValueType:
    def convert(value: Any) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple, set, frozenset)) or not all(isinstance(part, str) for part in parts):
            raise InvalidValue
        return tuple(part.strip() for part in parts if part.strip())

    return ValueType("a list of texts", convert)


def choice(*allowed: object) -> ValueType:
    def convert(value: Any) -> Any:
        for each in allowed:
            # 1 == True and 0 == False, but they are different settings.
            if type(each) is type(value) and each == value:
                return each
        raise InvalidValue

    names = [repr(each) for each in allowed]
    words = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    return ValueType(words, convert, as_text)
