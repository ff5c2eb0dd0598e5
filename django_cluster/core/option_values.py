"""The values of options: checked, and in the form in which they travel."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django_cluster.core.call_options import ASYNC_ITER_OPTIONS, with_queue
from django_cluster.core.correlation import checked_correlation_id
from django_cluster.core.headers import MOST_RUNS, PRIORITIES
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.messages import DEFAULT_OPTIONS, NO_TIMEOUT, TaskOptions, path_of_class
from django_cluster.core.option_synonyms import STRATEGIES
from django_cluster.core.safe_text import require_storable
from django_cluster.core.time import LAST_MOMENT, MOST_SECONDS, UnclearLocalTime, aware
from django_cluster.errors import LONGEST_DURATION

REFUSED_OPTIONS = {
    "chain": "async_task() alone",
    **dict.fromkeys(ASYNC_ITER_OPTIONS, "async_iter(), which sets it itself"),
}
MAX_NAME = 100
MOST_BACKOFF = 1000
"""The largest factor by which the delay before a retry may grow from run to run."""


def build_options(given: Mapping[str, Any]) -> TaskOptions:
    """Options of a call → options of a package. Raises ``TypeError`` and ``ValueError``."""
    if not given:
        return DEFAULT_OPTIONS
    given = with_queue(given) if "cluster" in given else given
    for name in REFUSED_OPTIONS.keys() & given.keys():
        if given[name]:
            raise TypeError(f"The option {name!r} belongs to {REFUSED_OPTIONS[name]}.")
    values = {name: _read(name, given[name]) for name in _READERS.keys() & given.keys() if given[name] is not None}
    if "delay" in values:
        values["not_before"] = time.time() + values.pop("delay")
    if "eta" in values:
        values["not_before"] = values.pop("eta")
    if "expires" in values:
        values["expires_at"] = values.pop("expires")
    _check_moments(values.get("not_before", 0.0), values.get("expires_at"))
    return TaskOptions(**values) if values else DEFAULT_OPTIONS


def _check_moments(not_before: float, expires_at: float | None) -> None:
    if not_before > LAST_MOMENT:
        raise ValueError("A task cannot wait until after the year 9999.")
    if expires_at is not None and expires_at <= not_before:
        raise ValueError("The task would expire before it may run: 'expires' counts from now, as 'delay' does.")


def _read(name: str, value: Any) -> Any:
    try:
        return _READERS[name](value)
    except OptionError as error:
        raise error.kind(f"The option {name!r}: {error}") from None


def with_paths(given: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the options in which functions and exceptions are replaced by their dotted paths."""
    paths = {"hook": dotted_path, "retry_on": _exceptions, "no_retry_on": _exceptions}
    return {name: paths[name](value) if name in paths and value else value for name, value in given.items()}


class OptionError(Exception):
    """The value of an option cannot be used. Raised again as ``kind``, with the name of the option."""

    def __init__(self, kind: type[TypeError] | type[ValueError], sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def seconds(value: float | timedelta, least: float = -LONGEST_DURATION) -> float:
    """A duration in seconds, of at least ``least`` and at most 100 years."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise OptionError(TypeError, f"a duration is a number of seconds or a timedelta, not {shown(value)}.")
    if not least <= number <= LONGEST_DURATION:  # NaN is not, either
        what = "cannot be negative" if number < 0 == least else f"is at most {LONGEST_DURATION} seconds (100 years)"
        raise OptionError(ValueError, f"a duration {what}, and this is {shown(value)}.")
    return float(number)


def shown(value: object) -> str:
    """A short ``repr``, also of an integer with more digits than Python formats."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return f"a number of {int(value).bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"


def _timeout(value: float | timedelta) -> float:
    """A time limit; 0 and negative numbers mean no limit, as -1 does in Django-Q."""
    limit = seconds(value)
    return limit if limit > 0 else NO_TIMEOUT


def _duration(value: float | timedelta) -> float:
    return seconds(value, least=0)


def _expiry(value: float | timedelta | datetime) -> float:
    """Unix time of a datetime, or of so many seconds from now."""
    if isinstance(value, datetime):
        return _moment(value)
    duration = seconds(value)
    if duration <= 0:
        raise OptionError(ValueError, f"a task expires after more than 0 seconds, and this is {shown(value)}.")
    return min(time.time() + duration, LAST_MOMENT)


def _moment(value: datetime | float) -> float:
    """Unix time of a datetime, or a Unix time."""
    if isinstance(value, datetime):
        try:
            return (aware(value) if value.tzinfo is None else value).timestamp()
        except UnclearLocalTime as error:
            raise OptionError(ValueError, str(error)) from None
        except (OverflowError, ValueError):
            raise OptionError(ValueError, f"{value} is beyond the calendar.") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(TypeError, f"a datetime or a Unix time in seconds is expected, not {shown(value)}.")
    if not -MOST_SECONDS <= value <= MOST_SECONDS:
        raise OptionError(ValueError, f"{shown(value)} is no Unix time in seconds: it is beyond the calendar.")
    return float(value)


def _short_text(value: object) -> str:
    text = require_storable(str(value), "The name of a group, queue or broker")
    if len(text) > MAX_NAME:
        raise ValueError(
            f"The name of a group, queue or broker has at most {MAX_NAME} characters; this one has {len(text)}."
        )
    return text


def _alias(value: object) -> str | None:
    """A name of ``brokers`` is sent with the task; None for a ``Broker`` object, which only the sender uses."""
    return _short_text(value) if isinstance(value, str) else None


def _cached(value: bool | int) -> bool | int:
    return value if isinstance(value, bool) else int(seconds(value, least=0))


def _attempts(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RUNS:
        raise ValueError(
            f"max_attempts is a number of runs from 1 to {MOST_RUNS}, or 0 for no limit, not {shown(value)}."
        )
    return value


def _backoff(value: float | str) -> float | str:
    """A factor, or the name of a strategy."""
    if isinstance(value, str) and value in STRATEGIES:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MOST_BACKOFF:
        raise OptionError(
            ValueError,
            f"a factor from 1 to {MOST_BACKOFF}, or one of {', '.join(map(repr, STRATEGIES))}, not {shown(value)}.",
        )
    return float(value)


def _priority(value: int) -> int:
    if isinstance(value, bool) or value not in PRIORITIES:
        raise ValueError(f"A priority is a whole number from -100 to 100, not {shown(value)}.")
    return int(value)


def _correlation(value: Any) -> str:
    try:
        return checked_correlation_id(value)
    except (TypeError, ValueError) as error:
        raise OptionError(type(error), str(error)) from None


def _exceptions(value: Any) -> tuple[str, ...]:
    """One exception class or several, or their dotted paths → dotted paths."""
    several = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return tuple(sorted({_exception_path(each) for each in several}))


def _exception_path(kind: Any) -> str:
    if isinstance(kind, str) and kind:
        return require_storable(kind, "The path of an exception").removeprefix("builtins.")
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return path_of_class(kind)
    raise TypeError(f"An exception class or its dotted path is expected, not {kind!r}.")


_READERS: dict[str, Callable[[Any], Any]] = {
    "hook": dotted_path,
    "group": _short_text,
    "save": bool,
    "cached": _cached,
    "ack_failure": bool,
    "timeout": _timeout,
    "queue": _short_text,
    "broker": _alias,
    "max_attempts": _attempts,
    "retry_backoff": _backoff,
    "retry_delay": _duration,
    "retry_on": _exceptions,
    "no_retry_on": _exceptions,
    "priority": _priority,
    "correlation_id": _correlation,
    "delay": _duration,
    "eta": _moment,
    "expires": _expiry,
    "track": bool,
}
