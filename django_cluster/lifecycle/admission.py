"""What may be sent and run: asked before anything that a message or a row names is imported or opened.

Two questions: whether the setting ``functions`` allows the function, and whether the message is younger than
``max_message_age``. A task that is turned away is final: it is rejected, and its message is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from django_cluster.core.allowed_functions import ANY, REGISTERED, matches
from django_cluster.core.function_signatures import load_function
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.errors import FunctionNotAllowed, MessageTooOld
from django_cluster.schedules.declarations import is_registered

ALL_FUNCTIONS = (ANY,)


class AllowedFunctions:
    """The functions that a project allows. An allowed one is remembered; another may be registered later."""

    def __init__(self, functions: tuple[str, ...]) -> None:
        """``functions``: ``SigningSettings.functions``."""
        self.unlimited = functions == ALL_FUNCTIONS
        self._patterns = functions
        self._known: set[str] = set()

    def check(self, path: str) -> None:
        """Return if this function may be run. Raises ``FunctionNotAllowed``; imports nothing that ``path`` names."""
        if not self.unlimited and path not in self._known:
            self._ask(path)
            self._known.add(path)

    def check_declared(self, path: str) -> None:
        """Return if this task of Django's Tasks framework may be run: ``registered`` admits all of them, because a
        worker runs nothing but what is declared as a task there. Raises ``FunctionNotAllowed``."""
        if REGISTERED not in self._patterns:
            self.check(path)

    def check_package(self, header: TaskHeader) -> None:
        """Raise ``FunctionNotAllowed`` unless a task's function and hook are allowed."""
        if not self.unlimited:
            if header.options.backend is None:
                self.check(header.func)
            else:
                self.check_declared(header.func)
            if header.options.hook:
                self.check(header.options.hook)

    def load(self, path: str) -> Callable[..., Any]:
        """The function, if it may be run. Raises ``FunctionNotAllowed`` and ``UnknownFunction``.

        A pattern names what a module defines, and not what it has imported from elsewhere: ``orders.tasks.*`` does not
        allow ``orders.tasks.os.system``. Nor does it name the methods of what stands in the module, such as
        ``orders.tasks.CACHE.clear`` and ``orders.tasks.send.__globals__.update``.
        """
        if self.unlimited:
            return load_function(path)
        self.check(path)
        func = load_function(path)
        home = _defined_at(func)
        if home != path and not self._names(path):
            if home is not None:
                self._check_home(home)
            elif not _is_module_attribute(path):
                raise FunctionNotAllowed(self._sentence(path))
        return func

    def _check_home(self, home: str) -> None:
        """Check where a function was defined, which may be inside a decorator. Raises ``FunctionNotAllowed``."""
        if home not in self._known and not matches(home, self._patterns) and not self._is_registered(home):
            raise FunctionNotAllowed(self._sentence(home))

    def _ask(self, path: str) -> None:
        path = dotted_path(path)
        if not matches(path, self._patterns) and not self._is_registered(path):
            raise FunctionNotAllowed(self._sentence(path))

    def _names(self, path: str) -> bool:
        """Whether the path is allowed as it stands, and not by a pattern for many."""
        return path in self._patterns or self._is_registered(path)

    def _is_registered(self, path: str) -> bool:
        return REGISTERED in self._patterns and is_registered(path)

    def _sentence(self, path: str) -> str:
        if self._patterns == (REGISTERED,):
            return (
                f'{path} may not be run: Q_CLUSTER["functions"] is "registered", and this is no registered task.'
                " Declare it with @task (from django_cluster import task), in the tasks module of an installed app."
            )
        return f'{path} may not be run: Q_CLUSTER["functions"] does not name it ({", ".join(self._patterns)}).'


def _defined_at(func: Callable[..., Any]) -> str | None:
    """Where the function was defined; None for an object that does not say it."""
    owner = getattr(func, "__self__", None)
    if isinstance(owner, type):  # a class method belongs to the class on which it is called
        return f"{owner.__module__}.{owner.__qualname__}.{getattr(func, '__name__', '')}"
    name, module = getattr(func, "__qualname__", None), getattr(func, "__module__", None)
    if not isinstance(module, str):  # methods of built-in classes know their class alone
        module = getattr(getattr(func, "__objclass__", None), "__module__", None)
    return f"{module}.{name}" if isinstance(name, str) and isinstance(module, str) else None


def _is_module_attribute(path: str) -> bool:
    """Whether the path is that of a module, and one name in it. What is imported is known under its own name."""
    module, _, _ = path.rpartition(".")
    return getattr(sys.modules.get(module), "__name__", None) == module


@lru_cache(maxsize=64)
def allowed_functions(functions: tuple[str, ...]) -> AllowedFunctions:
    """One for each value of the setting in a process."""
    return AllowedFunctions(functions)


def check_functions(functions: tuple[str, ...], packages: Iterable[TaskPackage]) -> None:
    """Raises ``FunctionNotAllowed`` for the first package whose function or hook may not be run."""
    allowed = allowed_functions(functions)
    if not allowed.unlimited:
        for package in packages:
            allowed.check_package(package.header)


def has_expired(header: TaskHeader, now: float) -> bool:
    """Whether no run may begin any more. ``now``: Unix time."""
    return header.options.expires_at is not None and now >= header.options.expires_at


def check_age(header: TaskHeader, now: float, longest: float | None) -> None:
    """Raises ``MessageTooOld`` for a task that was sent, or was due, longer ago than ``longest`` seconds.

    ``now``: Unix time. Runs that follow a failure count from the same moment.
    """
    if longest is None:
        return
    age = now - max(header.enqueued_at, header.options.not_before or 0.0)
    if age > longest:
        raise MessageTooOld(
            f"The message is {age:.0f} seconds old, and max_message_age is {longest:g}: it was not run. To run the task"
            " all the same, send it again."
        )
