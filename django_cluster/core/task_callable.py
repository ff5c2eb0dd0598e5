"""A function with the options that its tasks have by default: what a worker meets where ``@task`` was used.

The core knows these objects so that a task has the same options by whichever door it is sent: by its object, by its
dotted path, by a schedule, in a chain or in a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, Self, TypeVar

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a function that was declared with ``takes_context`` is told about its own run, as its first argument."""

    id: str
    """The task id; empty where the function was simply called."""
    name: str
    attempt: int
    """Number of this run; the first is 1."""
    queue: str | None
    """The queue for which the task was sent; None = the one that ``Q_CLUSTER["name"]`` names."""
    enqueued_at: float
    """Unix time in seconds."""


LOCAL_CALL = TaskContext(id="", name="", attempt=1, queue=None, enqueued_at=0.0)
"""The context of a function that is simply called, without a queue."""


class TaskCallable(Generic[P, R_co]):
    """A callable that stands under the name of a function, calls it, and holds the options of its tasks."""

    func: Callable[..., R_co]
    """The function as it was written; with ``takes_context``, its first parameter is the ``TaskContext``."""
    options: Mapping[str, Any]
    """Options of its tasks, by the names that ``q_options`` has; those of a call go before them."""
    takes_context: bool
    origin: TaskCallable[P, R_co]
    """The object that stands in the module; a copy with other options is found there under its name."""

    def __init__(
        self,
        func: Callable[..., R_co],
        options: Mapping[str, Any],
        *,
        takes_context: bool = False,
        origin: TaskCallable[P, R_co] | None = None,
    ) -> None:
        update_wrapper(self, func)
        self.func = func
        self.options = MappingProxyType(dict(options))
        self.takes_context = takes_context
        self.origin = origin or self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function here and now."""
        return self.call_as(LOCAL_CALL, *args, **kwargs)

    def call_as(self, context: TaskContext, *args: Any, **kwargs: Any) -> R_co:
        """Call the function here and now, as the run that ``context`` describes."""
        return self.func(context, *args, **kwargs) if self.takes_context else self.func(*args, **kwargs)

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """A copy whose tasks have these options, and no others."""
        return type(self)(self.func, options, takes_context=self.takes_context, origin=self.origin)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By name; a copy by the name of its origin, and its options."""
        if self.origin is self:
            return self.func.__qualname__
        return TaskCallable.with_options, (self.origin, dict(self.options))

    def __repr__(self) -> str:
        return f"<task {self.func.__module__}.{self.func.__qualname__}>"
