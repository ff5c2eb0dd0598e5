"""Builds packages from calls: separates options from arguments, and checks both before anything is sent."""

from __future__ import annotations

import re
import reprlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, ClassVar

from django_cluster.core.correlation import checked_correlation_id, current_correlation_id
from django_cluster.core.function_signatures import check_call, has_parameter, loaded
from django_cluster.core.headers import LAST_MOMENT, MOST_RUNS, MOST_SECONDS, PRIORITIES
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.local_time import instants_of
from django_cluster.core.messages import (
    DEFAULT_OPTIONS,
    NO_TIMEOUT,
    TaskHeader,
    TaskOptions,
    TaskPackage,
    path_of_class,
)
from django_cluster.core.option_synonyms import MEANT_BY, STRATEGIES
from django_cluster.core.safe_text import require_storable
from django_cluster.core.suggestions import closest_match
from django_cluster.core.task_callable import TaskCallable
from django_cluster.core.task_ids import new_task_id, task_name
from django_cluster.errors import LONGEST_DURATION

KEYWORDS = frozenset({
    "ack_failure", "broker", "cached", "chain", "cluster", "group", "hook", "iter_cached", "iter_count", "queue",
    "save", "sync", "task_name", "timeout",
})  # fmt: skip
"""Options that are taken out of the keywords of a call, unless ``q_options`` is given: Django-Q's, and ``queue``."""

ONLY_IN_Q_OPTIONS = frozenset({
    "correlation_id", "delay", "eta", "expires", "max_attempts", "no_retry_on", "on_commit", "priority",
    "retry_backoff", "retry_delay", "retry_on",
})  # fmt: skip
"""Options that Django-Q did not have: as plain keywords they may belong to the function."""

UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")
"""The message of Python for a keyword that a function does not take."""

ASYNC_ITER_OPTIONS = frozenset({"iter_cached", "iter_count"})
"""Known, so that no function is given them; no message offers them."""
HIDDEN_OPTIONS = ASYNC_ITER_OPTIONS | {"cluster"}
"""Options that no message offers."""

REFUSED_OPTIONS = {
    "chain": "async_task() alone",
    **dict.fromkeys(ASYNC_ITER_OPTIONS, "async_iter(), which sets it itself"),
}
MAX_NAME = 100
MOST_BACKOFF = 1000
"""The largest factor by which the delay before a retry may grow from run to run."""


def split_options(
    kwargs: Mapping[str, Any], func: Callable[..., Any] | str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the function's keywords, the options) of a call; neither argument is changed.

    With ``q_options`` every other keyword is the function's own, whatever its name. ``cluster``, Django-Q's name of the
    option ``queue``, becomes ``queue``. Raises ``TypeError`` if both are given and differ, and if ``queue`` might as
    well be the function's own.
    """
    if kwargs.get("q_options") is not None:
        options = given_options(kwargs["q_options"])
        return {name: value for name, value in kwargs.items() if name != "q_options"}, options
    if "queue" in kwargs and func is not None and has_parameter(func, "queue"):
        raise TypeError(
            f"queue={kwargs['queue']!r} may be the option or an argument of the function, which has a parameter of this"
            " name: give the option as q_options={'queue': ...}, or the argument beside q_options={}."
        )
    own = {name: value for name, value in kwargs.items() if name not in KEYWORDS and name != "q_options"}
    return own, with_queue({name: value for name, value in kwargs.items() if name in KEYWORDS})


def with_queue(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with ``queue`` in place of ``cluster``. Raises ``TypeError`` if both are given and differ."""
    found = dict(options)
    if "cluster" in found:
        found["queue"] = one_queue(found.get("queue"), found.pop("cluster"))
    return found


def one_queue(queue: str | None, cluster: str | None) -> str | None:
    """The queue that is named by the option ``queue`` or by ``cluster``, Django-Q's name for it.

    Raises ``TypeError`` if both are given and differ.
    """
    if queue is not None and cluster is not None and queue != cluster:
        raise TypeError(f"queue={queue!r} and cluster={cluster!r} mean the same option, and differ: give one of them.")
    return cluster if queue is None else queue


def with_declared(
    func: Callable[..., Any] | str, given: Mapping[str, Any], without: Collection[str] = ()
) -> dict[str, Any]:
    """The options of a call, and those that ``@task`` declares for the function where the call does not give them.

    ``without``: declared options that have no meaning where the task goes. A function that is named by its path is
    looked at only if its module is imported already.
    """
    found = loaded(func) if isinstance(func, str) else func
    if not isinstance(found, TaskCallable) or not found.options:
        return dict(given)
    declared = {name: value for name, value in found.options.items() if name not in without}
    return {**declared, **given}


def given_options(given: Mapping[str, Any], more: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A copy of ``q_options``. Raises ``TypeError`` for what is not a dict, and for an unknown option.

    ``more``: options that are known besides those of a task.
    """
    try:
        options = dict(given)
    except (TypeError, ValueError):
        raise TypeError(f"q_options is a dict of options, not {given!r}.") from None
    known = KEYWORDS | ONLY_IN_Q_OPTIONS | more
    if unknown := sorted(map(str, options.keys() - known)):
        raise TypeError(f"{'; '.join(_unknown(name, known) for name in unknown)}.")
    return with_queue(options)


def _unknown(name: str, known: frozenset[str]) -> str:
    near = closest_match(name, known - HIDDEN_OPTIONS, MEANT_BY)
    retry_hint = f" (did you mean {near!r}?)" if near else f"; known are {', '.join(sorted(known - HIDDEN_OPTIONS))}"
    return f"{name!r} is not an option{retry_hint}"


def option_hint(message: str, kwargs: Mapping[str, Any]) -> str:
    """A hint about the option that was probably meant by a keyword which the function does not take; "" if there is
    none.

    ``message``: of the ``TypeError``. ``kwargs``: with which the function was called.
    """
    found = UNEXPECTED.search(message)
    if found is None or found[1] not in kwargs:
        return ""
    near = closest_match(found[1], (KEYWORDS | ONLY_IN_Q_OPTIONS) - HIDDEN_OPTIONS, MEANT_BY)
    # An option that is spelt correctly has reached the function because it belongs in q_options.
    place = ", which belongs in q_options" if near in ONLY_IN_Q_OPTIONS or found[1] in (near, "cluster") else ""
    return f" (did you mean the option {near!r}{place}?)" if near else ""


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


def build_packages(
    func: Callable[..., Any] | str,
    calls: Iterable[tuple[Any, ...]],
    kwargs: Mapping[str, Any],
    options: TaskOptions,
    name: str | None = None,
) -> list[TaskPackage]:
    """One package for each tuple of arguments. All have the same time of sending.

    A task that is sent by a task, or within ``correlate``, has the correlation id of its sender.
    """
    if options.correlation_id is None and (inherited := current_correlation_id()) is not None:
        options = replace(options, correlation_id=inherited)
    path, now = dotted_path(func), time.time()
    if (name := checked_name(name)) is not None and len(name) > MAX_NAME:
        raise ValueError(f"A task name has at most {MAX_NAME} characters; this one has {len(name)}.")
    packages = []
    for args in calls:
        task_id = new_task_id()
        header = TaskHeader(id=task_id, name=name or task_name(task_id), func=path, enqueued_at=now, options=options)
        packages.append(TaskPackage(header=header, args=tuple(args), kwargs=kwargs))
    return packages


def checked_packages(
    func: Callable[..., Any] | str,
    calls: Sequence[tuple[Any, ...]],
    kwargs: Mapping[str, Any],
    given: Mapping[str, Any],
    options: TaskOptions,
) -> list[TaskPackage]:
    """Build the packages, and check that the function takes these arguments.

    ``given``: the options as they were given. Raises ``TypeError`` as the call itself would, and
    ``UnsuitableFunction`` for what no worker can run. A function that is named by its path is looked at only if its
    module is imported already.
    """
    packages = build_packages(func, calls, kwargs, options, given.get("task_name"))
    check_arguments(func, {len(args) for args in calls}, kwargs, given)
    if hook := given.get("hook"):
        check_hook(hook)
    return packages


def check_arguments(
    func: Callable[..., Any] | str, counts: Iterable[int], kwargs: Mapping[str, Any], given: Collection[str] = ()
) -> None:
    """Raise ``TypeError`` if the function cannot be called so; ``given``: the names of the options of the call."""
    problem = check_call(func, counts, kwargs)
    if not problem:
        return
    hint = option_hint(problem, kwargs)
    if taken := [name for name in sorted(given) if name in KEYWORDS and repr(name) in problem]:
        hint += (
            f" ({' and '.join(map(repr, taken))} was taken for an option of the task: beside q_options={{...}}, every"
            " keyword is the function's own)"
        )
    raise TypeError(f"{problem}{hint}.")


def check_hook(hook: Callable[..., Any] | str) -> None:
    """Raise ``TypeError`` if it cannot be called with the finished task."""
    if problem := check_call(hook, [1]):
        raise TypeError(f"A hook is called with the finished task: {problem}.")


def checked_name(name: Any) -> str | None:
    """The name of a task. Raises ``TypeError`` for what is not text, ``ValueError`` for text that cannot be stored."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"A task name is a text, not {name!r}.")
    return require_storable(name, "The task name")


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


class LocalTime:
    """The time zone of naive datetimes. The app sets it when Django starts, because the core does not import Django."""

    zone: ClassVar[Callable[[], tzinfo | None]] = staticmethod(lambda: None)
    """Returns the zone; None: the time zone of the process."""


def _moment(value: datetime | float) -> float:
    """Unix time of a datetime, or a Unix time."""
    if isinstance(value, datetime):
        try:
            return (aware(value) if value.tzinfo is None else value).timestamp()
        except (OverflowError, ValueError):
            raise OptionError(ValueError, f"{value} is beyond the calendar.") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(TypeError, f"a datetime or a Unix time in seconds is expected, not {shown(value)}.")
    if not -MOST_SECONDS <= value <= MOST_SECONDS:
        raise OptionError(ValueError, f"{shown(value)} is no Unix time in seconds: it is beyond the calendar.")
    return float(value)


def aware(value: datetime) -> datetime:
    """An aware datetime for a naive one, as a form of Django reads it; unchanged where there is no time zone.

    Raises ``OptionError`` for a local time that does not exist, or exists twice.
    """
    zone = LocalTime.zone()
    if zone is None:
        return value
    found = instants_of(value.replace(fold=0), zone)
    if len(found) == 1 or (found and value.fold):
        return found[-1]
    raise OptionError(
        ValueError,
        f"{value} is shown {'twice' if found else 'never'} by the clock of {zone}, which is changed then:"
        " give a datetime with a time zone.",
    )


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
}
