"""Error reporters: outside services that hear of failed tasks."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol

from django_cluster.core.messages import TaskPackage

logger = logging.getLogger("django_cluster")

ENTRY_POINT_GROUPS = ("django_cluster.error_reporters", "djangoq.errorreporters")
"""Ours first; the second is Django-Q's, whose plugins keep working."""


class ErrorReporter(Protocol):
    """What a reporter must offer. It is called in the worker, inside the ``except`` of the failed task."""

    def report(self, error: BaseException, package: TaskPackage) -> None: ...


class Reporters:
    """All configured reporters as one; a reporter that fails is logged and changes nothing."""

    def __init__(self, configured: Mapping[str, Mapping[str, Any]]) -> None:
        self._reporters: list[Any] = []
        for name, options in configured.items():
            try:
                self._reporters.append(_find(name)(**options))
            except Exception:
                logger.exception("The error reporter %r cannot be used; its reports are missing.", name)

    def report(self, error: BaseException, package: TaskPackage) -> None:
        for reporter in self._reporters:
            try:
                if _takes_nothing(reporter.report):
                    reporter.report()
                else:
                    reporter.report(error, package)
            except BaseException:  # a reporter that leaves must not take the worker with it
                logger.exception("The error reporter %r failed.", type(reporter).__name__)


def _find(name: str) -> Any:
    """The class behind an entry point's name or a dotted path."""
    for group in ENTRY_POINT_GROUPS:
        for point in entry_points(group=group, name=name):
            return point.load()
    module, dot, attribute = name.rpartition(".")
    if not dot:
        raise LookupError(f"No installed package offers an error reporter named {name!r}.")
    return getattr(import_module(module), attribute)


def _takes_nothing(report: Any) -> bool:
    """Django-Q's plugins are called without arguments and look at ``sys.exc_info()``."""
    parameters: Sequence[Any] = list(inspect.signature(report).parameters.values())
    return not parameters
