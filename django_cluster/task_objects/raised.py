"""A failed task's row → the exception that its caller gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_cluster.core.function_signatures import loaded
from django_cluster.errors import TaskFailed

if TYPE_CHECKING:
    from django_cluster.models import Task


def raised_by(row: Task) -> Exception:
    """What the task raised, with the traceback of the worker as a note; ``TaskFailed`` if it cannot be made again.

    A row is text that others may have written: no module is imported for it, and only a class of exceptions that
    exists in this process is called, with the message alone.
    """
    error = _again(row.error_kind, row.error_message) or TaskFailed(row.error_message or f"Task {row.id}: {row.status}")
    if row.error_traceback:
        error.add_note(f"In the worker:\n{row.error_traceback}")
    return error


def _again(path: str, message: str) -> Exception | None:
    kind = imported_class(path)
    if kind is None:
        return None
    try:
        return kind(message)
    except Exception:  # noqa: BLE001  its constructor takes something else
        return None


def imported_class(path: str) -> type[Exception] | None:
    """The class of exceptions that stands under this dotted path in a module that is imported already.

    Built-in exceptions are named by their bare name (``core.messages.path_of_class``).
    """
    found = loaded(path if "." in path else f"builtins.{path}")
    return found if isinstance(found, type) and issubclass(found, Exception) else None
