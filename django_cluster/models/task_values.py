"""Arguments and results of finished tasks under Django-Q's names: what the columns hold is sealed.

``Task.args``, ``kwargs`` and ``result`` are read and written as values. The database cannot compare them, so that a
condition on one of them, other than ``isnull``, opens the rows that the other conditions leave.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import FieldError
from django.db import models
from django.db.models.query import ValuesIterable

from django_cluster.core.sealed_rows import arguments_context, result_context, seal_arguments
from django_cluster.core.signing import dump_arguments, dump_pickle
from django_cluster.errors import PackageError
from django_cluster.models.aliases import ConvertedField
from django_cluster.models.row_signing import row_signer, serializer

if TYPE_CHECKING:
    from django_cluster.models.task import Task

OPENED = ("args", "kwargs", "result")
SOURCES = (
    *("id", "func", "hook", "queue", "options", "success", "sealed_arguments", "sealed_result"),
    *("error_message", "error_traceback"),
)
"""Columns from which the values are opened."""
BETWEEN = " : "
"""Separates the message of a failure from its traceback, in Django-Q's ``result``."""
TRACEBACK = "Traceback (most recent call last)"
SLOW = (
    "A condition on Task.{name} opens every row that the other conditions leave, because arguments and results are"
    " sealed: filter by func, group, name or time as well."
)


class OpenedField(ConvertedField):
    """The meaning of ``args``, ``kwargs`` and ``result``. ``Task`` opens and seals."""

    name: str

    def read(self, row: Any) -> Any:
        given = row.__dict__.get("_given", {})
        return given[self.name] if self.name in given else row.opened(self.name)

    def assign(self, row: Any, value: Any) -> None:
        row.__dict__.setdefault("_given", {})[self.name] = value

    def columns(self, value: Any) -> dict[str, Any]:
        raise FieldError(f"Task.{self.name} cannot be updated for many rows: it is sealed for each. Use save().")

    def to_column(self, value: Any) -> Any:
        return value

    def from_column(self, value: Any) -> Any:
        return value

    def get_lookup(self, name: str) -> Any:
        return super().get_lookup(name) if name == "isnull" else None

    def value_to_string(self, row: Any) -> str:
        return str(self.read(row))


def seal_given(task: Task) -> None:
    """Put the values that were assigned to a task into the columns that hold them."""
    given = task.__dict__.pop("_given", None)
    if not given:
        return
    if "args" in given or "kwargs" in given:
        pair = {**{name: task.opened(name) for name in ("args", "kwargs") if name not in given}, **given}
        task.sealed_arguments = sealed_arguments(task, _as_tuple(pair["args"]), dict(pair["kwargs"] or {}))
    if "result" in given and task.success:
        task.sealed_result = row_signer().dumps(given["result"], result_context(task.id))
    elif "result" in given:
        text = "" if given["result"] is None else str(given["result"])
        message, found, rest = text.partition(f"{BETWEEN}{TRACEBACK}")
        task.error_message, task.error_traceback = message, f"{TRACEBACK}{rest}" if found else ""


def sealed_arguments(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The column for these arguments. Raises ``NotSerializable``."""
    options = task.options if isinstance(task.options, dict) else {}
    context = arguments_context(task.id, task.func, options, hook=task.hook, success=task.success)
    plain = serializer() == "json"
    data = b"" if not args and not kwargs else dump_arguments(args, kwargs) if plain else dump_pickle((args, kwargs))
    return seal_arguments(row_signer(), b"J" if plain else b"P", data, task.queue or "", context)


def _as_tuple(args: Any) -> tuple[Any, ...]:
    if args is None:
        return ()
    return tuple(args) if isinstance(args, list | tuple) else (args,)


# ── conditions ───────────────────────────────────────────────────────────────────────────────────


class _Condition(NamedTuple):
    name: str
    holds: Callable[[Any], bool]


def _condition(lookup: str, value: Any) -> _Condition | None:
    """The condition on an opened value that a lookup means, if it is one."""
    name, _, how = lookup.partition("__")
    if name not in OPENED or how == "isnull":
        return None
    match how:
        case "" | "exact":
            wanted = tuple(value) if name == "args" and isinstance(value, list) else value
            return _Condition(name, lambda found: bool(found == wanted))
        case "in":
            several = [tuple(each) if name == "args" and isinstance(each, list) else each for each in value]
            return _Condition(name, lambda found: found in several)
    raise FieldError(f"Task.{name} can be looked up by exact, in and isnull, and not by {how}: it is sealed.")


def by_opening(rows: models.QuerySet[Any], condition: models.Q) -> models.Q:
    """Replace conditions on opened values by the ids of the rows for which they hold.

    ``rows``: those that may be meant. Warns when it has to open them.
    """
    children: list[Any] = []
    for child in condition.children:
        if isinstance(child, models.Q):
            children.append(by_opening(rows, child))
        elif isinstance(child, tuple) and (found := _condition(*child)) is not None:
            warnings.warn(SLOW.format(name=found.name), RuntimeWarning, stacklevel=6)
            children.append(("pk__in", _ids(rows, found)))
        else:
            children.append(child)
    return models.Q(*children, _connector=condition.connector, _negated=condition.negated)


def _ids(rows: models.QuerySet[Any], condition: _Condition) -> list[str]:
    found = []
    for task in rows.order_by().only(*SOURCES):
        try:
            if condition.holds(getattr(task, condition.name)):
                found.append(task.pk)
        except PackageError:
            continue  # what cannot be read is equal to nothing
    return found


# ── values() and values_list() ───────────────────────────────────────────────────────────────────


def opening(names: Sequence[str], shape: Callable[[Sequence[Any]], Any], open_row: Callable[..., Any]) -> type:
    """An iterable of values that opens those which are sealed. ``open_row`` makes a task of the columns."""

    class OpenedValues(ValuesIterable):
        def __iter__(self) -> Iterator[Any]:
            for row in super().__iter__():
                task = open_row(**{name: row[name] for name in SOURCES})
                yield shape([getattr(task, name) if name in OPENED else row[name] for name in names])

    return OpenedValues
