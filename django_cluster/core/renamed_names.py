"""Names of 0.1.0's development that are gone: asking for one says which name took its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def refuse(module: str, renamed: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for ``module``. ``renamed``: old name → what to write instead.

    It raises ``ImportError`` for those, because ``from module import name`` shows no other error's message, and
    ``AttributeError`` for all other names.
    """

    def missing(name: str) -> Any:
        if name in renamed:
            raise ImportError(f"{module}.{name} was renamed: use {renamed[name]}.")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return missing
