"""The middleware of the project: loaded once in each process, and called in the order of the settings."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_cluster.core.messages import TaskPackage
from django_cluster.core.task_middleware import TaskMiddleware
from django_cluster.errors import ClusterError, SendRefused


class MiddlewareStack:
    """The objects of all configured classes; the first is the outermost."""

    def __init__(self, middleware: Sequence[TaskMiddleware]) -> None:
        self._before_send = _overwriting(middleware, "before_send")
        self._around_run = _overwriting(middleware, "around_run")[::-1]
        self._around_async_run = _overwriting(middleware, "around_async_run")[::-1]

    def before_send(self, package: TaskPackage) -> TaskPackage:
        """The package that is sent. Raises ``SendRefused``, or another ``ClusterError`` that a middleware raises."""
        sent = package
        for each in self._before_send:
            try:
                sent = each.before_send(sent) or sent
            except ClusterError:
                raise
            except Exception as error:
                name = f"{type(each).__module__}.{type(each).__qualname__}"
                raise SendRefused(f"{name} refuses to send {package.header.func}: {error!r}") from error
        return sent

    def around(
        self, func: Callable[..., Any], package: TaskPackage, attempt: int, call: Callable[[], Any]
    ) -> Callable[[], Any]:
        """A function that does what ``call`` does, within the middleware; of ``async def``, it returns a coroutine."""
        if iscoroutinefunction(getattr(func, "func", func)):
            for each in self._around_async_run:
                call = partial(_awaited, each, package, attempt, call)
            return call
        for each in self._around_run:
            call = partial(each.around_run, package, attempt, call)
        return call


async def _awaited(
    middleware: TaskMiddleware, package: TaskPackage, attempt: int, call: Callable[[], Awaitable[Any]]
) -> Any:
    return await middleware.around_async_run(package, attempt, call)


def _overwriting(middleware: Sequence[TaskMiddleware], method: str) -> list[TaskMiddleware]:
    """The objects whose class does something in this method."""
    return [each for each in middleware if getattr(type(each), method) is not getattr(TaskMiddleware, method)]


def load_middleware(paths: tuple[str, ...]) -> list[type[TaskMiddleware]]:
    """The classes with these dotted paths. Raises ``ImproperlyConfigured`` for what is no middleware."""
    return [_class_of(path) for path in paths]


def _class_of(path: str) -> type[TaskMiddleware]:
    try:
        found = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"The middleware {path!r} of Q_CLUSTER cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, TaskMiddleware)):
        raise ImproperlyConfigured(f"The middleware {path!r} of Q_CLUSTER is no subclass of TaskMiddleware.")
    return found


def middleware_stack(paths: tuple[str, ...]) -> MiddlewareStack:
    """The middleware with these dotted paths, which each process makes once. Raises ``ImproperlyConfigured``."""
    return _stack_of_process(paths, os.getpid())


@lru_cache(maxsize=8)
def _stack_of_process(paths: tuple[str, ...], _pid: int) -> MiddlewareStack:
    return MiddlewareStack([each() for each in load_middleware(paths)])
