"""Types of values that one setting has, or a few: queues, functions, compression, schedules, retention, reporters.

They are made of the general types in ``values``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django_cluster.core import compression as compression_methods
from django_cluster.core.allowed_functions import ANY, is_pattern
from django_cluster.core.due import CatchUp
from django_cluster.core.settings.values import (
    MAX_SECONDS,
    InvalidValue,
    ValueType,
    as_flag,
    as_text,
    choice,
    finite_number,
    text,
)

MAX_NAME_LENGTH = 100
"""Maximum number of characters of the name of a queue: the size of the column."""


def flag_or_alias() -> ValueType:
    """True, False, or an alias. In the environment, words such as ``yes`` are flags."""
    alias = text()

    def convert(value: Any) -> bool | str:
        return value if isinstance(value, bool) else str(alias.convert(value))

    return ValueType("True, False, or the alias of a database", convert)


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


def class_paths() -> ValueType:
    """Dotted paths: ``shop.middleware.Quotas``."""

    def convert(value: Any) -> tuple[str, ...]:
        paths = value.split(",") if isinstance(value, str) else value
        if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
            raise InvalidValue
        found = tuple(path.strip() for path in paths if path.strip())
        if not all("." in path and all(part.isidentifier() for part in path.split(".")) for path in found):
            raise InvalidValue
        return found

    return ValueType("a list of dotted paths of classes", convert)


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

RETENTION_KINDS = (
    "success", FAILED, "failure", "timeout", "lost", "dead", "rejected", "discarded", "cancelled", "expired",
)  # fmt: skip
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
    days = value.total_seconds() / 86_400 if isinstance(value, timedelta) else finite_number(value)
    if not 0 <= days <= MAX_SECONDS / 86_400:
        raise InvalidValue
    return days


def reporters() -> ValueType:
    plain = mapping_of_mappings("a dict of names (or dotted paths) and their keyword arguments")

    def convert(value: Any) -> dict[str, dict[str, Any]]:
        return {value: {}} if isinstance(value, str) and value else dict(plain.convert(value))

    return ValueType(plain.words, convert)
