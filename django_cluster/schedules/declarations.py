"""Registered tasks of a project, and the schedules that it declares for them in its code.

A registry, filled while modules are imported and only read afterwards. ``discover`` imports the module ``tasks`` of
every installed app. Only a scheduler and the admin call it, so that a web process does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType, MappingProxyType
from typing import Any, ClassVar

from django.apps import apps

from django_cluster.core.events.schedules import DECLARATIONS_NOT_IMPORTED
from django_cluster.core.function_signatures import loaded
from django_cluster.core.import_paths import defined_at

DEFAULT_TASK_MODULES = ("tasks",)
MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A schedule that is declared in code."""

    key: str
    """Identifies it: the path of the function, followed by a colon and the name of the schedule, if it has one."""
    func: str
    """Dotted path of the function."""
    name: str
    columns: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Columns of ``Schedule`` that differ from their defaults, ready to be written."""


class TaskModules:
    """In which modules of each installed app tasks are looked for. The app says so when Django starts."""

    names: ClassVar[Callable[[], Sequence[str]]] = staticmethod(lambda: DEFAULT_TASK_MODULES)


_tasks: set[str] = set()
_declarations: dict[str, Declaration] = {}
_objects: dict[str, object] = {}
"""Path → the object that ``@task`` has made, which must be found there."""
_places: dict[str, set[str]] = {}
"""Path → the lines on which a function was declared under it."""


def register_task(func: Callable[..., Any], task_object: object | None = None) -> str:
    """Offer a function to people who may schedule registered tasks only; returns its path.

    ``task_object``: what ``@task`` makes of it. Raises ``UnknownFunction`` for a function that no other process could
    find.
    """
    path = defined_at(func)
    _tasks.add(path)
    if task_object is not None:
        _objects[path] = task_object
    if isinstance(func, FunctionType):
        _places.setdefault(path, set()).add(f"{func.__code__.co_filename}:{func.__code__.co_firstlineno}")
    return path


def task_problems() -> Iterator[str]:
    """A sentence for each task, of the modules imported so far, that no worker could run as it is declared."""
    for path in sorted(_tasks):
        if len(places := _places.get(path, ())) > 1:
            lines = ", ".join(sorted(places))
            yield f"{path} is declared {len(places)} times ({lines}): workers run the last one only."
        task_object = _objects.get(path)
        if task_object is not None and loaded(path) is not task_object:
            yield (
                f"{path} is declared with @task, but its module has something else under this name: use @task as the"
                " uppermost decorator, and keep its result under the name of the function."
            )


def declare(func: Callable[..., Any], columns: Mapping[str, Any], name: str | None = None) -> Declaration:
    """Add a schedule for this function. The same key replaces: a module that is imported anew says it again.

    Raises ``ValueError`` for a key that is too long, ``UnknownFunction`` as ``register_task``.
    """
    path = register_task(func)
    key = f"{path}:{name}" if name else path
    if len(key) > MAX_KEY_LENGTH:
        raise ValueError(
            f"The path and the name of a declared schedule have at most {MAX_KEY_LENGTH} characters: {key}."
        )
    _declarations[key] = Declaration(
        key=key, func=path, name=name or path[-100:], columns=MappingProxyType({**columns})
    )
    return _declarations[key]


def registered_tasks() -> list[str]:
    """The paths of all functions that were marked as tasks, or have a declared schedule."""
    discover()
    return sorted(_tasks)


def is_registered(path: str) -> bool:
    """Whether this function was marked as a task, or has a declared schedule. May import the tasks of the apps."""
    return path in _tasks or (discover() is not None and path in _tasks)


def declarations() -> list[Declaration]:
    """All schedules that the modules imported so far declare."""
    return list(_declarations.values())


@cache
def discover() -> bool:
    """Import the task modules of every installed app, once in the life of a process; whether all could be imported.

    A module that cannot be imported is logged, and keeps no other from being found.
    """
    configs = [config for config in apps.get_app_configs() if config.name != "django_cluster"]
    names = [f"{config.name}.{module}" for config in configs for module in TaskModules.names()]
    found = [_imported(name) for name in names]  # all of them: one that is broken keeps no other from being found
    return all(found)


def _imported(name: str) -> bool:
    try:
        if find_spec(name) is not None:
            import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a module of the project's raises
        DECLARATIONS_NOT_IMPORTED.log(module_path=name, error=error, exc_info=True)
        return False
    return True
