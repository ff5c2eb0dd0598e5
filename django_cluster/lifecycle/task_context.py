"""Every task and hook starts in the same context: what one of them activates is not active in the next.

A context holds the values of all context variables: Django's active language, time zone, URL configuration and script
prefix, the decimal context, and whatever libraries keep there (the fields of structlog, the scopes of Sentry).
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import ParamSpec, TypeVar

from django.core.cache import caches

P = ParamSpec("P")
T = TypeVar("T")

DECIMAL_VARIABLE = "decimal_context"
"""The name of the context variable of ``decimal``. Its value is an object that is changed in place, so that a copied
context would share it."""
DECIMAL_ATTRIBUTES = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")


class InitialContext:
    """The context in which this object was made; ``run`` calls a function in a copy of it."""

    def __init__(self) -> None:
        share_caches()
        self._decimals = None if _has_default_decimals() else decimal.getcontext().copy()
        self._context = Context()
        for variable, value in copy_context().items():
            if variable.name != DECIMAL_VARIABLE:
                self._context.run(variable.set, value)

    def run(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``func(*args, **kwargs)``; what it sets is forgotten afterwards."""
        context = self._context.copy()
        if self._decimals is not None:  # else the context makes its own when it is needed
            context.run(decimal.setcontext, self._decimals.copy())
        return context.run(func, *args, **kwargs)


def share_caches() -> None:
    """Make the objects of all ``CACHES`` now, if they were not made before; none of them connects yet.

    Django keeps them in a context variable, so that each task would otherwise make its own, and connect anew.
    """
    for alias in caches:
        with suppress(Exception):  # a backend that is not installed is the failure of the task that uses it
            caches[alias]


def _has_default_decimals() -> bool:
    now, default = decimal.getcontext(), decimal.DefaultContext
    return all(getattr(now, name) == getattr(default, name) for name in DECIMAL_ATTRIBUTES)
