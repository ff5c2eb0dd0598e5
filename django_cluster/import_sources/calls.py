"""Calls in the form of another task queue → packages. Pickles are opened as plain values, unless they are trusted."""

from __future__ import annotations

import io
import json
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django_cluster.client.client import get_client
from django_cluster.core.function_signatures import load_function
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.option_values import build_options
from django_cluster.core.reprs import repr_of
from django_cluster.core.task_ids import derived_id, task_name
from django_cluster.importing.options import ImportOptions, forbids_pickle
from django_cluster.importing.report import ImportReport, NotImportable
from django_cluster.importing.target import TargetQueue
from django_cluster.lifecycle.admission import allowed_functions

PLAIN_CLASSES: Mapping[tuple[str, str], Any] = {
    ("datetime", "datetime"): datetime,
    ("datetime", "timedelta"): timedelta,
}
"""Classes that plain values may have: making them runs nothing of the project."""


class Call(NamedTuple):
    """A function to be called."""

    source_id: str
    """Its id there, from which its id here follows."""
    path: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    """Options of ``async_task``."""

    def __repr__(self) -> str:
        return repr_of(self, "source_id", "path")


def open_value(data: bytes, options: ImportOptions, classes: Mapping[tuple[str, str], Any] | None = None) -> Any:
    """A value that was written as JSON or pickle. Raises ``NotImportable``.

    A pickle is opened by an unpickler that knows no classes but ``classes`` and those of ``PLAIN_CLASSES``, unless the
    user has said ``--trust-pickles``; with ``serializer = "json"`` none is opened at all.
    """
    try:
        return json.loads(data)
    except ValueError:
        pass
    if forbids_pickle():
        raise NotImportable("is a pickle, and serializer = 'json' forbids opening it.")
    try:
        return _Plain(data, {**PLAIN_CLASSES, **(classes or {})}, trusted=options.trust_pickles).load()
    except NotImportable:
        raise
    except Exception as error:
        raise NotImportable(f"cannot be opened: {type(error).__name__}: {error}") from error


class _Plain(pickle.Unpickler):
    def __init__(self, data: bytes, classes: Mapping[tuple[str, str], Any], *, trusted: bool) -> None:
        super().__init__(io.BytesIO(data))
        self._classes, self._trusted = classes, trusted

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._classes:
            return self._classes[module, name]
        if not self._trusted:
            raise NotImportable(f"is a pickle with more than plain values ({module}.{name}): --trust-pickles opens it.")
        return super().find_class(module, name)


def package_of(call: Call, kind: str) -> TaskPackage:
    """Check a call and make a package of it; ``kind`` names its source. Raises ``NotImportable``."""
    client = get_client()
    try:
        func: Callable[..., Any] = load_function(call.path)
    except Exception as error:
        raise NotImportable(f"names {call.path}, which cannot be called: {error}") from error
    if type(func).__module__.partition(".")[0] == "huey":
        raise NotImportable(f"names {call.path}, which is a task of huey yet: change its decorator first.")
    task_id = derived_id(kind, call.source_id, 0)
    try:
        header = TaskHeader(
            id=task_id,
            name=task_name(task_id),
            func=call.path,
            enqueued_at=time.time(),
            options=build_options({name: value for name, value in call.options.items() if value is not None}),
        )
        allowed_functions(client.settings.signing.functions).check_package(header)
    except Exception as error:
        raise NotImportable(str(error)) from error
    return TaskPackage(header=header, args=tuple(call.args), kwargs=dict(call.kwargs))


def send(target: TargetQueue, packages: Sequence[TaskPackage]) -> None:
    """Send each package to the queue that it names."""
    by_queue: dict[str, list[TaskPackage]] = {}
    for package in packages:
        by_queue.setdefault(package.header.options.queue or target.home, []).append(package)
    for queue, together in by_queue.items():
        target.send(queue, together)


def read_all(
    items: Sequence[Any], read: Callable[[Any], TaskPackage], report: ImportReport
) -> tuple[list[Any], list[Any], list[TaskPackage]]:
    """(items that can be sent, items that stay, their packages)."""
    good, refused, packages = [], [], []
    for item in items:
        try:
            packages.append(read(item))
            good.append(item)
        except NotImportable as reason:
            refused.append(item)
            report.leave(str(reason))
    return good, refused, packages
