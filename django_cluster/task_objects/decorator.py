"""``@task``: declares a function as a task, with the options that its tasks have by default."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any, Concatenate, Literal, Protocol, TypedDict, Unpack, overload

from django_cluster.core.function_signatures import check_function, traits
from django_cluster.core.task_callable import P, R_co, TaskContext
from django_cluster.errors import UnsuitableFunction
from django_cluster.schedules.declarations import register_task
from django_cluster.task_objects.function import TaskFunction, checked_options

Exceptions = type[BaseException] | str | Collection[type[BaseException] | str]


class TaskDefaults(TypedDict, total=False):
    """The options of ``@task``. Durations are seconds or a timedelta."""

    queue: str | None
    priority: int
    """-100 to 100; higher goes first."""
    max_attempts: int
    """Runs in all, the first included; 0 = no limit."""
    retry_delay: float | timedelta
    """Before the second run."""
    retry_backoff: float | str
    """Factor by which the delay grows from run to run; or "fixed", "linear", "exponential"."""
    retry_on: Exceptions
    no_retry_on: Exceptions
    timeout: float | timedelta
    """For one run; -1 = no limit."""
    delay: float | timedelta
    expires: float | timedelta
    track: bool
    """Whether each task has a row from the moment at which it is sent."""
    """After it was sent; no run begins later."""
    group: str
    hook: Callable[..., Any] | str
    save: bool
    cached: bool | int
    ack_failure: bool
    broker: str
    on_commit: bool | str
    queue_name: str
    max_retries: int
    """Runs after the first."""
    job_retry: int
    """Runs after the first."""
    job_retry_after: float | timedelta
    job_timeout: float | timedelta
    task_timeout: float | timedelta
    time_limit: float
    """Milliseconds."""
    retry_strategy: str


class Declares(Protocol):
    """What ``@task(...)`` is before it is given the function."""

    def __call__(self, func: Callable[P, R_co], /) -> TaskFunction[P, R_co]: ...


class DeclaresWithContext(Protocol):
    """What ``@task(takes_context=True, ...)`` is before it is given the function."""

    def __call__(self, func: Callable[Concatenate[TaskContext, P], R_co], /) -> TaskFunction[P, R_co]: ...


@overload
def task(func: Callable[P, R_co], /) -> TaskFunction[P, R_co]: ...
@overload
def task(*, takes_context: Literal[True], **options: Unpack[TaskDefaults]) -> DeclaresWithContext: ...
@overload
def task(*, takes_context: Literal[False] = False, **options: Unpack[TaskDefaults]) -> Declares: ...
def task(func: Callable[..., Any] | None = None, /, *, takes_context: bool = False, **options: Any) -> Any:
    """Make a task object of a function of a module: ``@task``, or ``@task(queue="mail", max_attempts=3)``.

    ``takes_context``: the function is given a ``TaskContext`` as its first argument. The options hold for each of its
    tasks, however it is sent; those of the call go before them, and they go before ``Q_CLUSTER``. The function is also
    registered: people who may schedule only registered tasks may schedule it.

    Raises ``TypeError`` and ``ValueError`` for options that no task could have, ``UnknownFunction`` for a function that
    no worker could import, ``UnsuitableFunction`` for an async function, a generator, or one whose first parameter
    cannot take the context.
    """
    checked = checked_options(options)

    def declare(declared: Callable[..., Any]) -> TaskFunction[..., Any]:
        check_function(declared)
        found = TaskFunction[..., Any](declared, checked, takes_context=takes_context)
        if takes_context and not takes_first_argument(declared):
            raise UnsuitableFunction(f"{found!r} takes a context, but has no parameter for it: it must be the first.")
        register_task(declared, found)
        return found

    return declare if func is None else declare(func)


def takes_first_argument(func: Callable[..., Any]) -> bool:
    """Whether the function can be given one argument by position."""
    parameters = traits(func).parameters
    return parameters is None or bool(parameters.positional) or parameters.takes_more_positional
