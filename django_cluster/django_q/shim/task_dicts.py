"""Django-Q's task dicts ↔ packages and outcomes of this package."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django_cluster.core import json_values
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.messages import (
    DEFAULT_OPTIONS,
    NO_TIMEOUT,
    Outcome,
    OutcomeStatus,
    TaskHeader,
    TaskOptions,
    TaskPackage,
)
from django_cluster.core.option_values import build_options
from django_cluster.core.task_ids import new_task_id, task_name
from django_cluster.stores.transient_task import transient_task

OPTIONS = {
    **{name: name for name in ("hook", "group", "save", "cached", "ack_failure", "timeout")},
    "cluster": "queue",
}
"""Options in Django-Q's dict → their names in ``TaskOptions``."""
FIELDS = frozenset({"id", "name", "func", "args", "kwargs", "started", *OPTIONS})
"""The keys of Django-Q's dict that have a place of their own in a package. All others are foreign, and come along."""


class TaskDict(dict[str, Any]):
    """A task as Django-Q's dict, in which some values are unpickled at the first look at them.

    An ordinary dict for its users: it can be written into, copied and merged.
    """

    def __init__(self, known: Mapping[str, Any], sealed: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__({**known, **dict.fromkeys(sealed)})
        self._sealed = dict(sealed)

    def _open(self, *names: str) -> None:
        for name in names or tuple(self._sealed):
            if (read := self._sealed.pop(name, None)) is not None:
                super().__setitem__(name, read())

    def __getitem__(self, key: str) -> Any:
        self._open(key)
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._sealed.pop(key, None)
        super().__setitem__(key, value)

    def __iter__(self) -> Iterator[str]:
        """Overridden so that ``dict(task)`` and ``{**task}`` ask ``__getitem__``."""
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        self._open(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self._open(key)
        return super().pop(key, *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._open(key)
        return super().setdefault(key, default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def items(self) -> Any:
        self._open()
        return super().items()

    def values(self) -> Any:
        self._open()
        return super().values()

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def __eq__(self, other: object) -> bool:
        self._open()
        return super().__eq__(other)

    __hash__ = None  # as of every dict

    def __repr__(self) -> str:
        return repr(self.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and deep copies are plain dicts."""
        return dict, (self.copy(),)


# ── a task that has not run yet ──────────────────────────────────────────────────────────────────


def package_dict(package: TaskPackage) -> dict[str, Any]:
    """The dict of a task that has not run yet."""
    header = package.header
    return {
        "id": header.id,
        "name": header.name,
        "func": header.func,
        "args": package.args,
        "kwargs": dict(package.kwargs),
        "started": _moment(header.enqueued_at),
        **_options(header.options),
    }


def package_of(task: Mapping[str, Any], base: TaskPackage | None = None) -> TaskPackage:
    """The package of a task dict. ``base``: the package from which the dict was made; its other options are kept.

    Raises ``NotSerializable`` for a foreign key whose value JSON cannot carry, and what ``async_task`` raises.
    """
    given = build_options({name: task[name] for name in OPTIONS if name in task})
    own = {ours: getattr(given, ours) for ours in OPTIONS.values()}
    foreign = {name: value for name, value in task.items() if name not in FIELDS}
    options = replace(base.header.options if base else DEFAULT_OPTIONS, **own, extra=_written(foreign))
    task_id = str(task.get("id") or new_task_id())
    started = task.get("started")
    header = TaskHeader(
        id=task_id,
        name=str(task.get("name") or task_name(task_id)),
        func=dotted_path(task["func"]),
        enqueued_at=started.timestamp() if started else datetime.now(UTC).timestamp(),
        options=options,
    )
    return TaskPackage(header=header, args=tuple(task.get("args") or ()), kwargs=dict(task.get("kwargs") or {}))


def _written(foreign: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if not foreign:
        return None
    return {str(name): json.loads(json_values.dumps(value, f"The key {name!r}")) for name, value in foreign.items()}


def _options(options: TaskOptions) -> dict[str, Any]:
    found = {name: value for name, ours in OPTIONS.items() if (value := getattr(options, ours)) is not None}
    if "timeout" in found:
        limit = found["timeout"]
        found["timeout"] = -1 if limit == NO_TIMEOUT else int(limit) if float(limit).is_integer() else limit
    foreign = options.extra or {}
    return found | {name: json_values.loads(json.dumps(value).encode()) for name, value in foreign.items()}


# ── a task that has run ──────────────────────────────────────────────────────────────────────────


def outcome_dict(outcome: Outcome) -> TaskDict:
    """The dict of a task that has run."""
    _, message, traceback = outcome.failure or ("", "", "")
    success = outcome.status == OutcomeStatus.SUCCESS
    known = {
        "id": outcome.id,
        "name": outcome.name,
        "func": outcome.func,
        "args": (),
        "kwargs": {},
        "started": _moment(outcome.enqueued_at),
        **_options(TaskOptions.from_wire(outcome.options)),
        **({"cluster": outcome.queue} if outcome.queue else {}),
        "result": failure_text(message, traceback),
        "success": success,
        "stopped": _moment(outcome.stopped_at),
    }
    sealed: dict[str, Callable[[], Any]] = {
        "args": lambda: transient_task(outcome).args,
        "kwargs": lambda: transient_task(outcome).kwargs,
    }
    if success:
        sealed["result"] = lambda: transient_task(outcome).result
    return TaskDict(known, sealed)


def failure_text(message: str, traceback: str) -> str:
    """The result of a failed task in Django-Q: message and traceback in one text."""
    return " : ".join(text for text in (message, traceback) if text)


def _moment(unix_time: float) -> datetime:
    return datetime.fromtimestamp(unix_time, UTC)
