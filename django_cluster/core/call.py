"""A call and its options ↔ a package: what ``async_task`` does before anything is sent."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django_cluster.core.dotted import dotted_path
from django_cluster.core.headers import LAST_MOMENT, MOST_RUNS, MOST_SECONDS, PRIORITIES
from django_cluster.core.messages import (
    DEFAULT_OPTIONS,
    NO_TIMEOUT,
    TaskHeader,
    TaskOptions,
    TaskPackage,
    path_of_class,
)
from django_cluster.core.naming import new_task_id, task_name
from django_cluster.core.nearest import nearest
from django_cluster.core.texts import checked

KEYWORDS = frozenset({
    "ack_failure", "broker", "cached", "chain", "cluster", "group", "hook", "iter_cached", "iter_count", "save",
    "sync", "task_name", "timeout",
})  # fmt: skip
"""Django-Q's options: taken out of the keywords of a call, unless ``q_options`` is given."""

ONLY_IN_Q_OPTIONS = frozenset({
    "delay", "eta", "max_attempts", "no_retry_on", "on_commit", "priority", "retry_delay", "retry_on",
})  # fmt: skip
"""Options that Django-Q did not have: as plain keywords they may belong to the function."""

OTHER_WORDS = {
    "countdown": "delay",
    "job_timeout": "timeout",
    "max_retries": "max_attempts",
    "queue": "cluster",
    "retries": "max_attempts",
    "time_limit": "timeout",
}
"""What other task queues call our options."""

UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")
"""How Python says that a function does not take a keyword."""

OF_ASYNC_ITER = frozenset({"iter_cached", "iter_count"})
"""Known, so that nobody's function is given them, and offered to nobody."""

ELSEWHERE = {"chain": "async_task() alone", **dict.fromkeys(OF_ASYNC_ITER, "async_iter(), which sets it itself")}
MAX_NAME = 100


def part(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the function's keywords, the options) of a call; neither argument is changed.

    With ``q_options`` every other keyword is the function's own, whatever its name.
    """
    if kwargs.get("q_options") is not None:
        options = given_options(kwargs["q_options"])
        return {name: value for name, value in kwargs.items() if name != "q_options"}, options
    own = {name: value for name, value in kwargs.items() if name not in KEYWORDS and name != "q_options"}
    return own, {name: value for name, value in kwargs.items() if name in KEYWORDS}


def given_options(given: Mapping[str, Any], more: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A copy of ``q_options``. Raises ``TypeError`` for what is no dict, and for an option that nobody knows.

    ``more``: options that are known besides those of a task.
    """
    try:
        options = dict(given)
    except (TypeError, ValueError):
        raise TypeError(f"q_options is a dict of options, not {given!r}.") from None
    known = KEYWORDS | ONLY_IN_Q_OPTIONS | more
    if unknown := sorted(map(str, options.keys() - known)):
        raise TypeError(f"{'; '.join(_unknown(name, known) for name in unknown)}.")
    return options


def _unknown(name: str, known: frozenset[str]) -> str:
    near = nearest(name, known, OTHER_WORDS)
    advice = f" (did you mean {near!r}?)" if near else f"; known are {', '.join(sorted(known - OF_ASYNC_ITER))}"
    return f"{name!r} is not an option{advice}"


def option_meant(message: str, kwargs: Mapping[str, Any]) -> str:
    """What to add about the option that was meant by a keyword which the function does not take; "" if none was.

    ``message``: of the ``TypeError``. ``kwargs``: with which the function was called.
    """
    found = UNEXPECTED.search(message)
    if found is None or found[1] not in kwargs:
        return ""
    near = nearest(found[1], KEYWORDS | ONLY_IN_Q_OPTIONS, OTHER_WORDS)
    # One that is spelt right has reached the function because q_options is the place for it.
    place = ", which stands in q_options" if near in ONLY_IN_Q_OPTIONS or near == found[1] else ""
    return f" (did you mean the option {near!r}{place}?)" if near else ""


def build_options(given: Mapping[str, Any]) -> TaskOptions:
    """Options as they were given → as they travel. Raises ``TypeError``, ``ValueError``."""
    if not given:
        return DEFAULT_OPTIONS
    for name in ELSEWHERE.keys() & given.keys():
        if given[name]:
            raise TypeError(f"The option {name!r} belongs to {ELSEWHERE[name]}.")
    values = {name: _READERS[name](given[name]) for name in _READERS.keys() & given.keys() if given[name] is not None}
    if "delay" in values:
        values["not_before"] = time.time() + values.pop("delay")
    if "eta" in values:
        values["not_before"] = values.pop("eta")
    if values.get("not_before", 0.0) > LAST_MOMENT:
        raise ValueError("A task cannot wait until after the year 9999.")
    return TaskOptions(**values) if values else DEFAULT_OPTIONS


def portable(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were given, with what stands in the code (functions, exceptions) named by its path."""
    paths = {"hook": dotted_path, "retry_on": _exceptions, "no_retry_on": _exceptions}
    return {name: paths[name](value) if name in paths and value else value for name, value in given.items()}


def build_packages(
    func: Callable[..., Any] | str,
    calls: Iterable[tuple[Any, ...]],
    kwargs: Mapping[str, Any],
    options: TaskOptions,
    name: str | None = None,
) -> list[TaskPackage]:
    """One package for each tuple of arguments; the function is looked at once, the clock too."""
    path, now = dotted_path(func), time.time()
    if (name := checked_name(name)) is not None and len(name) > MAX_NAME:
        raise ValueError(f"A task name has at most {MAX_NAME} characters; this one has {len(name)}.")
    packages = []
    for args in calls:
        task_id = new_task_id()
        header = TaskHeader(id=task_id, name=name or task_name(task_id), func=path, enqueued_at=now, options=options)
        packages.append(TaskPackage(header=header, args=tuple(args), kwargs=kwargs))
    return packages


def checked_name(name: Any) -> str | None:
    """The name given to a task. Raises ``TypeError`` for what is no text, ``ValueError`` for what nobody can keep."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"A task name is a text, not {name!r}.")
    return checked(name, "The task name")


def seconds(value: float | timedelta) -> float:
    """A duration in seconds; raises ``TypeError`` for anything that is none."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"A duration is a number of seconds or a timedelta, not {value!r}.")
    if not -MOST_SECONDS <= value <= MOST_SECONDS:  # NaN is not, either
        raise ValueError(f"A duration is a finite number of seconds, at most {MOST_SECONDS}.")
    return float(value)


def _timeout(value: float | timedelta) -> float:
    """Django-Q's -1 means no limit; so does 0."""
    limit = seconds(value)
    return limit if limit > 0 else NO_TIMEOUT


def _duration(value: float | timedelta) -> float:
    if (duration := seconds(value)) < 0:
        raise ValueError(f"A delay cannot be negative: {value!r}.")
    return duration


def _moment(value: datetime | float) -> float:
    return value.timestamp() if isinstance(value, datetime) else seconds(value)


def _short_text(value: object) -> str:
    text = checked(str(value), "The name of a group, cluster or broker")
    if len(text) > MAX_NAME:
        raise ValueError(
            f"The name of a group, cluster or broker has at most {MAX_NAME} characters; this one has {len(text)}."
        )
    return text


def _alias(value: object) -> str | None:
    """A name of ``brokers`` travels with the task; a broker that is at hand is used by whoever sends."""
    return _short_text(value) if isinstance(value, str) else None


def _cached(value: bool | int) -> bool | int:
    return value if isinstance(value, bool) else int(seconds(value))


def _attempts(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RUNS:
        raise ValueError(f"max_attempts is a number of runs from 1 to {MOST_RUNS}, or 0 for no limit, not {value!r}.")
    return value


def _priority(value: int) -> int:
    if isinstance(value, bool) or value not in PRIORITIES:
        raise ValueError(f"A priority is a whole number from -100 to 100, not {value!r}.")
    return int(value)


def _exceptions(value: Any) -> tuple[str, ...]:
    """One exception class or several, or their dotted paths → dotted paths."""
    several = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return tuple(sorted({_exception_path(each) for each in several}))


def _exception_path(kind: Any) -> str:
    if isinstance(kind, str) and kind:
        return checked(kind, "The path of an exception").removeprefix("builtins.")
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
    "cluster": _short_text,
    "broker": _alias,
    "max_attempts": _attempts,
    "retry_delay": _duration,
    "retry_on": _exceptions,
    "no_retry_on": _exceptions,
    "priority": _priority,
    "delay": _duration,
    "eta": _moment,
}
