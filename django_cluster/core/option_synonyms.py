"""What other task queues call the options of a task → the names that they have here.

Sources of the names and units: Django's Tasks framework (``queue_name``), Celery (``countdown``), Dramatiq
(``max_retries`` = runs after the first, ``time_limit`` in milliseconds), RQ and ReArq (``job_timeout``,
``job_retry``, ``job_retry_after``, in seconds).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

STRATEGIES = ("fixed", "linear", "exponential")
"""Values of ``retry_backoff`` beside a factor."""


def _one_more(value: Any) -> Any:
    """Runs after the first → runs in all. What is no number is refused where the option is read."""
    return value + 1 if isinstance(value, int) and not isinstance(value, bool) else value


def milliseconds(value: Any) -> Any:
    """Milliseconds → seconds; a timedelta has its own unit."""
    return value / 1000 if isinstance(value, int | float) and not isinstance(value, bool) else value


def _same(value: Any) -> Any:
    return value


SYNONYMS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "queue_name": ("queue", _same),
    "cluster": ("queue", _same),
    "countdown": ("delay", _same),
    "expire": ("expires", _same),
    "max_retries": ("max_attempts", _one_more),
    "job_retry": ("max_attempts", _one_more),
    "job_retries": ("max_attempts", _one_more),
    "job_retry_after": ("retry_delay", _same),
    "job_timeout": ("timeout", _same),
    "task_timeout": ("timeout", _same),
    "time_limit": ("timeout", milliseconds),
    "retry_strategy": ("retry_backoff", _same),
}
"""Name elsewhere → (name here, its value elsewhere → its value here)."""

MEANT_BY: Mapping[str, str] = {"retries": "max_attempts", **{name: here for name, (here, _) in SYNONYMS.items()}}
"""The option that is suggested where a name from elsewhere is not understood."""


def understood(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the names that they have here.

    Raises ``TypeError`` if two names of one option are given.
    """
    found: dict[str, Any] = {}
    given_as: dict[str, str] = {}
    for name, value in options.items():
        here, converted = SYNONYMS.get(name, (name, _same))
        if here in found:
            raise TypeError(f"{name!r} and {given_as[here]!r} are two names of one option: give one of them.")
        found[here], given_as[here] = converted(value), name
    return found


def as_seconds(value: float | timedelta) -> float:
    """A delay in milliseconds, or a timedelta → seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value / 1000
