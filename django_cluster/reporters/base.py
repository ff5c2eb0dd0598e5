"""Interfaces of error reporters, and the failed run that they report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from django_cluster.core.messages import TaskPackage
from django_cluster.core.redaction import parameter_names, redactor


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """One run that failed.

    Usually reported in the worker, with the exception. Failures without a worker (a lost worker, an undecodable
    message) are reported by the notifier, as text only.
    """

    id: str
    name: str
    func: str
    group: str | None
    queue: str
    attempt: int
    final: bool
    """Whether the task will not be run again."""
    worker: str
    kind: str
    """Dotted path of the exception class, or a word such as ``WorkerLost``."""
    message: str = field(repr=False)
    traceback: str = field(default="", repr=False)
    """Text, where there is no ``error``."""
    error: BaseException | None = field(default=None, repr=False)
    package: TaskPackage | None = field(default=None, repr=False)
    """The package with its arguments, in the process that ran the task. Arguments may contain secrets."""

    @property
    def fingerprint(self) -> tuple[str, str]:
        """Function and class of the error, by which reports are grouped."""
        return self.func, self.kind

    def facts(self, *, arguments: bool = False) -> dict[str, Any]:
        """Plain values about the task; ``arguments``: the text of its arguments, without credentials."""
        known: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "func": self.func,
            "group": self.group,
            "queue": self.queue,
            "attempt": self.attempt,
            "final": self.final,
            "worker": self.worker,
        }
        if arguments and self.package is not None:
            names = parameter_names(self.func, len(self.package.args))
            pairs = zip(self.package.args, names, strict=True)
            known["args"] = [text_of(value, name) for value, name in pairs]
            known["kwargs"] = {name: text_of(value, name) for name, value in self.package.kwargs.items()}
        return known

    def tags(self) -> Mapping[str, str]:
        """Tags of the report."""
        return {"task.func": self.func, "task.queue": self.queue, "task.attempt": str(self.attempt)}


MAX_TEXT = 1000
"""Characters kept of one argument."""


def text_of(value: object, name: str = "") -> str:
    """``repr`` of an argument of this name without credentials, even of what cannot be shown."""
    try:
        return repr(redactor().value(value, name))[:MAX_TEXT]
    except Exception:  # noqa: BLE001  __repr__ may raise anything
        return f"<{type(value).__name__} that cannot be shown>"


class ErrorReporter(Protocol):
    """The simple interface: called in the worker only, inside the ``except`` block of the failed task."""

    def report(self, error: BaseException, package: TaskPackage) -> None: ...


class RunReporter(Protocol):
    """The full interface: called for every failed run. ``flush`` and ``only_final`` are optional."""

    only_final: bool
    """Whether runs that will be retried are not reported."""

    def report_run(self, run: FailedRun) -> None: ...

    def flush(self, seconds: float) -> None:
        """Send pending reports within ``seconds``; called before a process of the cluster ends."""
