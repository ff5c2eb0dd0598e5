"""Packages as Django-Q's dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django_cluster.client.client import get_client
from django_cluster.core.call import build_options
from django_cluster.core.codec import Codec, peek_header
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.messages import Outcome, OutcomeStatus, TaskHeader, TaskOptions, TaskPackage
from django_cluster.errors import BadSignature
from django_cluster.stores.transient_task import transient_task

__all__ = ["BadSignature", "FinishedTaskDict", "SignedPackage", "package_dict"]

OPTIONS = ("hook", "group", "save", "cached", "ack_failure", "timeout", "cluster")


class SignedPackage:
    """``dumps`` and ``loads`` of task dicts, in our own format: what Django-Q has signed, ``qimport`` reads."""

    @staticmethod
    def dumps(obj: Mapping[str, Any], compressed: bool | None = None) -> str:
        started = obj.get("started")
        header = TaskHeader(
            id=obj["id"],
            name=obj["name"],
            func=dotted_path(obj["func"]),
            enqueued_at=started.timestamp() if started else datetime.now(UTC).timestamp(),
            options=build_options({name: obj[name] for name in OPTIONS if name in obj}),
        )
        package = TaskPackage(header=header, args=tuple(obj.get("args", ())), kwargs=obj.get("kwargs") or {})
        return _codec_of(header).dumps(package)

    @staticmethod
    def loads(obj: str) -> dict[str, Any]:
        """Raises ``BadSignature``."""
        return package_dict(_codec_of(peek_header(obj)).loads(obj))


def _codec_of(header: TaskHeader) -> Codec:
    """The codec of the queue that the task names: signatures hold for one queue."""
    codec = get_client().codec
    return codec.for_queue(header.options.queue) if header.options.queue else codec


def package_dict(package: TaskPackage) -> dict[str, Any]:
    """A task that has not run yet."""
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


class FinishedTaskDict(Mapping[str, Any]):
    """A task that has run, with the keys of Django-Q's dict.

    Arguments and result are opened when they are asked for: who does not look need not unpickle.
    """

    def __init__(self, outcome: Outcome) -> None:
        _, message, traceback = outcome.failure or ("", "", "")
        success = outcome.status == OutcomeStatus.SUCCESS
        self._known: dict[str, Any] = {
            "id": outcome.id,
            "name": outcome.name,
            "func": outcome.func,
            "started": _moment(outcome.enqueued_at),
            "stopped": _moment(outcome.stopped_at),
            "success": success,
            **_options(TaskOptions.from_wire(outcome.options)),
        }
        error = " : ".join(text for text in (message, traceback) if text)
        self._sealed: dict[str, Callable[[], Any]] = {
            "args": lambda: transient_task(outcome).args,
            "kwargs": lambda: transient_task(outcome).kwargs,
            "result": lambda: transient_task(outcome).result if success else error,
        }

    def __getitem__(self, key: str) -> Any:
        return self._sealed[key]() if key in self._sealed else self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._known, *self._sealed])

    def __len__(self) -> int:
        return len(self._known) + len(self._sealed)


def _options(options: TaskOptions) -> dict[str, Any]:
    names = {**dict(zip(OPTIONS, OPTIONS, strict=True)), "cluster": "queue"}
    return {name: value for name, ours in names.items() if (value := getattr(options, ours)) is not None}


def _moment(unix_time: float) -> datetime:
    return datetime.fromtimestamp(unix_time, UTC)
