"""Which keywords of a call are options of the task, and which are the function's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django_cluster.core.function_signatures import has_parameter, loaded
from django_cluster.core.option_synonyms import MEANT_BY
from django_cluster.core.suggestions import closest_match
from django_cluster.core.task_callable import TaskCallable

KEYWORDS = frozenset({
    "ack_failure", "broker", "cached", "chain", "cluster", "group", "hook", "iter_cached", "iter_count", "queue",
    "save", "sync", "task_name", "timeout",
})  # fmt: skip
"""Options that are taken out of the keywords of a call, unless ``q_options`` is given: Django-Q's, and ``queue``."""

ONLY_IN_Q_OPTIONS = frozenset({
    "correlation_id", "delay", "eta", "expires", "max_attempts", "no_retry_on", "on_commit", "priority",
    "retry_backoff", "retry_delay", "retry_on", "track",
})  # fmt: skip
"""Options that Django-Q did not have: as plain keywords they may belong to the function."""
UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")
"""The message of Python for a keyword that a function does not take."""
ASYNC_ITER_OPTIONS = frozenset({"iter_cached", "iter_count"})
"""Known, so that no function is given them; no message offers them."""
HIDDEN_OPTIONS = ASYNC_ITER_OPTIONS | {"cluster"}
"""Options that no message offers."""


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
