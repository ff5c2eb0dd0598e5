"""Types of values of settings, in words and in code.

A ``ValueType`` converts a value as it is written into the value that the code uses, or raises ``InvalidValue``. Its
words complete the sentence "workers must be …", and are shown in the reference.
"""

from __future__ import annotations

import json
import logging
import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django_cluster.core import compression as compression_methods
from django_cluster.core.allowed_functions import ANY, is_pattern
from django_cluster.core.due import CatchUp

MAX_NAME_LENGTH = 100
"""Maximum number of characters of the name of a queue: the size of the column."""

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


def flag_or_alias() -> ValueType:
    """True, False, or an alias. In the environment, words such as ``yes`` are flags."""
    alias = text()

    def convert(value: Any) -> bool | str:
        return value if isinstance(value, bool) else str(alias.convert(value))

    return ValueType("True, False, or the alias of a database", convert)


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
        result = _finite(value)
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
        result = value.total_seconds() if isinstance(value, timedelta) else _finite(value)
        if result < 0 or (result == 0 and not zero) or (below is not None and result >= below):
            raise InvalidValue
        if result > MAX_SECONDS:
            raise InvalidValue("is longer than a thousand years.")
        return float(result)

    return ValueType(words if below is None else f"{words} and below {below:g}", convert)


def _finite(value: Any) -> float:
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


def module_names() -> ValueType:
    """Names of modules below an app: ``tasks``, ``background.jobs``."""

    def convert(value: Any) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise InvalidValue
        found = tuple(name.strip() for name in names if name.strip())
        if not all(part.isidentifier() for name in found for part in name.split(".")):
            raise InvalidValue
        return found

    return ValueType("a list of names of modules", convert)


def queue_name() -> ValueType:
    plain = text()

    def convert(value: Any) -> str:
        result: str = plain.convert(value)
        if len(result) > MAX_NAME_LENGTH:
            raise InvalidValue
        return result

    return ValueType(f"text of 1 to {MAX_NAME_LENGTH} characters", convert, as_text)


def functions() -> ValueType:
    """The setting ``functions``: a word, a pattern, or several."""

    def convert(value: Any) -> tuple[str, ...]:
        several = [value] if isinstance(value, str) else value
        if not isinstance(several, list | tuple | set | frozenset) or not several:
            raise InvalidValue
        if tuple(several) == (ANY,):
            return (ANY,)
        if not all(map(is_pattern, several)):
            raise InvalidValue
        return tuple(several) if isinstance(several, list | tuple) else tuple(sorted(several))

    return ValueType("'any', 'registered', or a list of patterns such as 'orders.tasks.*'", convert)


def dotted_path() -> ValueType:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or value.count(".") < 1 or not all(map(str.isidentifier, value.split("."))):
            raise InvalidValue
        return value

    return ValueType("the dotted path of a class, such as 'myapp.brokers.MyBroker'", convert, as_text)


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


def compression() -> ValueType:
    known = choice(False, True, compression_methods.ZLIB, compression_methods.ZSTD)

    def convert(value: Any) -> bool | str:
        method = known.convert(value)
        if not compression_methods.is_available(method):
            raise InvalidValue(f"cannot be 'zstd' here: {compression_methods.WITHOUT_ZSTD}")
        return True if method == compression_methods.ZLIB else method

    return ValueType(known.words, convert, as_flag)


def log_level() -> ValueType:
    def convert(value: Any) -> str:
        if isinstance(value, str) and value.upper() in logging.getLevelNamesMapping():
            return value.upper()
        raise InvalidValue

    return ValueType("the name of a level of Python's logging, such as 'INFO'", convert, as_text)


def time_zone() -> ValueType:
    def convert(value: Any) -> str:
        name = getattr(value, "key", None) if isinstance(value, tzinfo) else value
        if not isinstance(name, str) or not name:
            raise InvalidValue
        try:
            ZoneInfo(name)
        except Exception:  # noqa: BLE001  KeyError, ValueError, OSError…: a zone is looked up as a file
            raise InvalidValue from None
        return name

    return ValueType("the name of a time zone, such as 'Europe/Berlin'", convert, as_text)


def catch_up() -> ValueType:
    """The setting ``catch_up``: a word, or True or False as in Django-Q."""
    flags = {True: CatchUp.ALL, False: CatchUp.ONCE}

    def convert(value: Any) -> CatchUp:
        if isinstance(value, bool):
            return flags[value]
        if isinstance(value, str) and value in list(CatchUp):
            return CatchUp(value)
        raise InvalidValue

    return ValueType("'all' (or True), 'once' (or False) or 'skip'", convert, as_flag)


def mapping_of_mappings(words: str) -> ValueType:
    def convert(value: Any) -> dict[str, dict[str, Any]]:
        if not isinstance(value, Mapping):
            raise InvalidValue
        if not all(isinstance(name, str) and isinstance(each, (Mapping, type(None))) for name, each in value.items()):
            raise InvalidValue
        return {name: dict(each or {}) for name, each in value.items()}

    return ValueType(words, convert)


FAILED = "failed"
"""The kind of all results but ``success`` that have no kind of their own in ``retention_days``."""

RETENTION_KINDS = ("success", FAILED, "failure", "timeout", "lost", "dead", "rejected", "discarded", "expired")
"""The kinds of results that may be keys of ``retention_days``."""


def retention_days() -> ValueType:
    """The setting ``retention_days``: a number for all kinds of results, or a dict."""
    words = f"a number of days, None, or a dict of them by kind ({', '.join(RETENTION_KINDS)})"

    def convert(value: Any) -> dict[str, float | None]:
        by_kind = value if isinstance(value, Mapping) else {"success": value, FAILED: value}
        if not all(kind in RETENTION_KINDS for kind in by_kind):
            raise InvalidValue
        return {kind: None if days is None else _days(days) for kind, days in by_kind.items()}

    return ValueType(words, convert)


def days_or_none() -> ValueType:
    """A number of days, or a timedelta; None = forever."""

    def convert(value: Any) -> float | None:
        return None if value is None else _days(value)

    return ValueType("a number of days, or None", convert)


def _days(value: Any) -> float:
    days = value.total_seconds() / 86_400 if isinstance(value, timedelta) else _finite(value)
    if not 0 <= days <= MAX_SECONDS / 86_400:
        raise InvalidValue
    return days


def reporters() -> ValueType:
    plain = mapping_of_mappings("a dict of names (or dotted paths) and their keyword arguments")

    def convert(value: Any) -> dict[str, dict[str, Any]]:
        return {value: {}} if isinstance(value, str) and value else dict(plain.convert(value))

    return ValueType(plain.words, convert)
