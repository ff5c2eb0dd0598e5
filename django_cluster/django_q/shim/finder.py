"""The import hook behind ``import django_q``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from django_cluster.django_q.shim.names import MODULES, REMOVED_MODULES

ROOT = "django_q"
MIGRATIONS = Path(__file__).parents[1] / "migrations"
"""The folder of the app's migrations, in which Django looks for files."""


class ShimModule(ModuleType):
    """A module of Django-Q, whose names are looked up here when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        names = MODULES[_relative(self.__name__)]
        if (inner := _relative(f"{self.__name__}.{name}")) in MODULES:
            return import_module(f"{ROOT}.{inner}")  # where the app is installed, Django has imported its modules
        if name not in names:
            raise AttributeError(
                f"{self.__name__}.{name} has no counterpart in django_cluster: see 'Moving from Django-Q' in its docs."
            )
        module, _, attribute = names[name].partition(":")
        value = getattr(import_module(module), attribute)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *MODULES[_relative(self.__name__)]})


class DjangoQFinder(MetaPathFinder, Loader):
    """Import hook for ``django_q`` and its submodules, which takes precedence over an installed Django-Q."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        package, _, _ = name.partition(".")
        if package != ROOT:
            return None
        if _relative(name) in REMOVED_MODULES:
            raise ImportError(f"{name} {REMOVED_MODULES[_relative(name)]}", name=name)
        if _relative(name) == "migrations":
            return spec_from_file_location(
                name, MIGRATIONS / "__init__.py", submodule_search_locations=[str(MIGRATIONS)]
            )
        if _relative(name) not in MODULES:
            return None
        return ModuleSpec(name, self, is_package=_is_package(_relative(name)))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return ShimModule(spec.name, f"{spec.name} of Django-Q, as django_cluster offers it.")

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__all__"] = sorted(name for name in MODULES[_relative(module.__name__)] if name[0] != "_")


def install() -> None:
    """See ``django_cluster.django_q.install_django_q``."""
    known = sys.modules.get(ROOT)
    if known is not None and not isinstance(known, ShimModule):
        raise ImportError(
            "Django-Q has been imported already: put 'django_cluster.django_q' before the apps that import it, or call"
            " install_django_q() at the top of the settings."
        )
    if not is_installed():
        sys.meta_path.insert(0, DjangoQFinder())


def is_installed() -> bool:
    """Whether ``import django_q`` finds this package."""
    return any(isinstance(finder, DjangoQFinder) for finder in sys.meta_path)


def _relative(name: str) -> str:
    return name.removeprefix(ROOT).removeprefix(".")


def _is_package(relative: str) -> bool:
    return not relative or any(each.startswith(f"{relative}.") for each in MODULES)
