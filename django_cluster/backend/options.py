"""``OPTIONS`` of an alias of ``TASKS``: checked, and as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connections

from django_cluster.core.import_paths import load
from django_cluster.core.suggestions import closest_match
from django_cluster.errors import LONGEST_DURATION, UnknownFunction

MAX_RUNS = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """The options of one alias. None: what ``Q_CLUSTER`` says."""

    max_attempts: int | None = None
    backoff: Callable[..., Any] | None = None
    timeout: float | None = None
    on_commit: bool | str | None = None
    cluster: str | None = None
    """The queue of the cluster to which the framework's queue ``default`` goes."""


def _max_attempts(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RUNS:
        raise ValueError(f"MAX_ATTEMPTS is a number of runs, or 0 for no limit, not {value!r}.")
    return value


def _backoff(value: Any) -> Callable[..., Any]:
    if callable(value):
        found: Callable[..., Any] = value
        return found
    if not isinstance(value, str):
        raise ValueError(f"BACKOFF is a function, or its dotted path, not {value!r}.")
    try:
        return load(value)
    except UnknownFunction as error:
        raise ValueError(f"BACKOFF cannot be imported: {error}") from error


def _timeout(value: Any) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_DURATION:
        raise ValueError(f"TIMEOUT is a number of seconds above 0, not {value!r}.")
    return float(seconds)


def _on_commit(value: Any) -> bool | str:
    if not isinstance(value, bool | str):
        raise ValueError(f"ON_COMMIT is True, False, or the alias of a database, not {value!r}.")
    if isinstance(value, str) and value not in connections:
        known = ", ".join(map(repr, connections))
        raise ValueError(f"ON_COMMIT is {value!r}, which is no database of DATABASES ({known}).")
    return value


def _cluster(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 100 or not value.isprintable():
        raise ValueError(f"CLUSTER is the name of a queue, not {value!r}.")
    if value != value.strip():
        raise ValueError(f"CLUSTER is {value!r}: the name of a queue has no blanks around it.")
    return value


READERS: Mapping[str, Callable[[Any], Any]] = {
    "MAX_ATTEMPTS": _max_attempts,
    "BACKOFF": _backoff,
    "TIMEOUT": _timeout,
    "ON_COMMIT": _on_commit,
    "CLUSTER": _cluster,
}


def parse_options(written: Mapping[str, Any]) -> BackendOptions:
    """The options. Raises ``ValueError`` with all problems."""
    if found := option_problems(written):
        raise ValueError(" ".join(found))
    values = {name.lower(): READERS[name](value) for name, value in written.items() if value is not None}
    return BackendOptions(**values)


def option_problems(written: Any) -> list[str]:
    """What is wrong with ``OPTIONS``: a sentence each."""
    if not isinstance(written, Mapping):
        return [f"OPTIONS is a dict, not {written!r}."]
    problems = []
    for name, value in written.items():
        if name not in READERS:
            near = closest_match(str(name).upper(), READERS)
            problems.append(
                f"{name!r} is not an option"
                + (f": did you mean {near!r}?" if near else f"; known: {', '.join(READERS)}.")
            )
        elif value is not None:
            try:
                READERS[name](value)
            except ValueError as error:
                problems.append(str(error))
    return problems
