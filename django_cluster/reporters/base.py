"""What a reporter is told of a run that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from django_cluster.core.messages import TaskPackage
from django_cluster.core.redaction import parameter_names, redactor


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """One run that failed.

    Most are told in the worker, with the exception at hand. What nobody could tell there (the process died, the
    message could not be read) is told by the process that files it, in words only.
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
    """With the arguments, in the process that ran the task. They may be secrets: think before sending them."""

    @property
    def fingerprint(self) -> tuple[str, str]:
        """What reports of one cause have in common: the function and the class of the error."""
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
        """What people search by."""
        return {"task.func": self.func, "task.queue": self.queue, "task.attempt": str(self.attempt)}


MAX_TEXT = 1000
"""Characters kept of one argument."""


def text_of(value: object, name: str = "") -> str:
    """``repr`` of an argument of this name without credentials, even of what cannot be shown."""
    try:
        return repr(redactor().value(value, name))[:MAX_TEXT]
    except Exception:  # noqa: BLE001  __repr__ is anybody's code
        return f"<{type(value).__name__} that cannot be shown>"


class ErrorReporter(Protocol):
    """The simple form: called in the worker only, inside the ``except`` of the failed task."""

    def report(self, error: BaseException, package: TaskPackage) -> None: ...


class RunReporter(Protocol):
    """The full form: hears of every failed run, whoever notices it. ``flush`` and ``only_final`` may be missing."""

    only_final: bool
    """Whether runs after which the task is tried again are kept quiet."""

    def report_run(self, run: FailedRun) -> None: ...

    def flush(self, seconds: float) -> None:
        """Send what waits; called before a process of the cluster ends. Longer than that it is not waited for."""
