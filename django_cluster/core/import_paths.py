"""A callable ↔ its dotted path.

The path names a module and what to take from it: ``app.tasks.send``, ``app.models.Order.close``,
``builtins.print``. Only what another process can find again has one.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from functools import lru_cache, partial, reduce
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from django_cluster.core.task_callable import TaskCallable
from django_cluster.errors import UnknownFunction


class DeclaredTask(Protocol):
    """A task of Django's framework, as far as its function is to be named."""

    @property
    def module_path(self) -> str:
        """The dotted path of its function."""


TaskLike = Callable[..., Any] | DeclaredTask | str
"""What names a function whose tasks are meant: itself, a task object, a task of Django's framework, a dotted path."""

DEFINED_IN_MAIN = " It was defined in the program that sent it: put it into a module that both can import."


def dotted_path(func: Callable[..., Any] | str) -> str:
    """The path under which any process finds ``func`` again; raises ``UnknownFunction`` if there is none.

    A text is taken to be a path already, and is only looked at, not looked up: the function may live in
    another program.
    """
    if isinstance(func, str):
        return _checked_path(func)
    module, name = _home_of(func)
    path = f"{module}.{name}"
    if isinstance(func, TaskCallable):
        func = func.origin  # a copy with other options
    if _found(module, name) != func:
        raise UnknownFunction(f"{func!r} cannot be found again as {path}: it must stand there under its own name.")
    return path


def task_path(func: TaskLike) -> str:
    """The path that the tasks of a function carry; raises ``UnknownFunction`` as ``dotted_path`` does.

    A task of Django's framework cannot be called, and therefore not be sent by ``async_task``, but it can be named.
    """
    path = None if callable(func) else getattr(func, "module_path", None)
    return path if isinstance(path, str) else dotted_path(func)  # type: ignore[arg-type]


def defined_at(func: Callable[..., Any]) -> str:
    """The path of a function that is just being defined, so that it cannot be looked up yet.

    Raises ``UnknownFunction`` for one that cannot be imported by its name, such as a lambda.
    """
    return ".".join(_home_of(func))


def load(path: str) -> Callable[..., Any]:
    """The callable that ``path`` names now: a test may patch its module. Raises ``UnknownFunction``.

    This is asked for every task, so that the place is remembered, and the function is not.
    """
    found = load_object(path)
    if not callable(found):
        raise UnknownFunction(f"{path} is not a function: it is of type {type(found).__name__}.")
    func: Callable[..., Any] = found
    return func


def load_object(path: str) -> Any:
    """Whatever ``path`` names now. Raises ``UnknownFunction``."""
    home, names = _place_of(path)
    module = sys.modules.get(home) or import_module(home)
    found: Any = module
    for name in names:
        try:
            found = getattr(found, name)
        except AttributeError as error:
            hint = DEFINED_IN_MAIN if module.__name__ == "__main__" else ""
            raise UnknownFunction(f"{path} cannot be found: {_called(found)} has no {name}.{hint}") from error
    return found


@lru_cache(1024)
def _checked_path(path: str) -> str:
    if _is_dotted(path):
        if "." in path:
            return path
        if hasattr(builtins, path):
            return f"builtins.{path}"
        raise UnknownFunction(f"{path!r} is neither a dotted path such as 'app.tasks.send', nor a built-in function.")
    meant = path.replace(":", ".").removesuffix("()")
    hint = f" Did you mean {meant!r}?" if "." in meant and _is_dotted(meant) else ""
    raise UnknownFunction(f"{path!r} is not a dotted path such as 'app.tasks.send'.{hint}")


def _is_dotted(path: str) -> bool:
    return all(part.isidentifier() for part in path.split("."))


def _home_of(func: Callable[..., Any]) -> tuple[str, str]:
    """Module and qualified name, or a sentence about why there are none."""
    if isinstance(func, partial):
        raise UnknownFunction("A partial has no path: send the function itself, with all its arguments.")
    if not callable(func):
        raise UnknownFunction(f"{func!r} is not a function, nor the dotted path of one.")
    owner = getattr(func, "__self__", None)
    if isinstance(owner, type):
        # A class method: named by the class it is called on, which may have inherited it.
        name = f"{owner.__qualname__}.{func.__name__}"
        module = owner.__module__
    elif owner is None or isinstance(owner, ModuleType):
        name = getattr(func, "__qualname__", "")
        # Methods of built-in classes know their class, but not their module.
        module = getattr(func, "__module__", None) or getattr(func, "__objclass__", type(func)).__module__
    else:
        raise UnknownFunction(f"{func!r} is bound to an object: send a function, and what finds the object, instead.")
    if "<lambda>" in name:
        raise UnknownFunction("A lambda has no name by which another process could find it: define a function.")
    if "<locals>" in name:
        raise UnknownFunction(f"{name} is defined inside a function, where no other process can find it: move it out.")
    if not name:
        raise UnknownFunction(f"{func!r} is an object, not a function: no other process can find it by a name.")
    return module, name


def _found(module: str, name: str) -> object:
    """The object with this name in a module that is imported already; None if there is none."""
    return reduce(lambda parent, each: getattr(parent, each, None), name.split("."), sys.modules.get(module))


@lru_cache(1024)
def _place_of(path: str) -> tuple[str, tuple[str, ...]]:
    """The name of the deepest module on the path, which is imported, and the names that are left to look up in it."""
    _, names = _imported(_checked_path(path))
    return ".".join(_checked_path(path).split(".")[: -len(names)]), tuple(names)


def _imported(path: str) -> tuple[ModuleType, list[str]]:
    """The deepest module on the path, and the names that are left to look up in it."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            return import_module(name), parts[length:]
        except ModuleNotFoundError as error:
            # Something that this module imports is missing: that is another matter than the module itself.
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise _broken(path, name, error) from error
        except (Exception, SystemExit) as error:
            raise _broken(path, name, error) from error
    raise UnknownFunction(f"{path} cannot be found: there is no module {parts[0]}.")


def _broken(path: str, module: str, error: BaseException) -> UnknownFunction:
    return UnknownFunction(f"{path} cannot be found: importing {module} raised {type(error).__name__}: {error}")


def _called(found: object) -> str:
    if isinstance(found, ModuleType):
        return f"the module {found.__name__}"
    return str(getattr(found, "__qualname__", type(found).__qualname__))
