"""Builds the packages of a call, and checks beforehand that the function takes its arguments."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from django_cluster.core.call_options import KEYWORDS, option_hint
from django_cluster.core.correlation import current_correlation_id, traceparent_of
from django_cluster.core.function_signatures import check_call
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.messages import DEFAULT_OPTIONS, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.option_values import MAX_NAME
from django_cluster.core.safe_text import require_storable
from django_cluster.core.task_ids import new_task_id, task_name


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
        trace = traceparent_of(inherited)
        options = (
            replace(options, correlation_id=inherited, traceparent=trace)
            if options is not DEFAULT_OPTIONS
            else _inheriting(inherited, trace)
        )
    path, now = dotted_path(func), time.time()
    if (name := checked_name(name)) is not None and len(name) > MAX_NAME:
        raise ValueError(f"A task name has at most {MAX_NAME} characters; this one has {len(name)}.")
    packages = []
    for args in calls:
        task_id = new_task_id()
        header = TaskHeader(id=task_id, name=name or task_name(task_id), func=path, enqueued_at=now, options=options)
        packages.append(TaskPackage(header=header, args=tuple(args), kwargs=kwargs))
    return packages


@lru_cache(maxsize=16)
def _inheriting(correlation_id: str, traceparent: str | None) -> TaskOptions:
    """The options of children that were given none: made once for all children of a task, since it takes long."""
    return TaskOptions(correlation_id=correlation_id, traceparent=traceparent)


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
