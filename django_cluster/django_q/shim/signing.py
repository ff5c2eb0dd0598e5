"""``SignedPackage``: Django-Q's dicts, and whatever else it signs, in the format of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_cluster.client.client import get_client
from django_cluster.core.codec import Codec, peek_header
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.task_ids import new_task_id
from django_cluster.django_q.shim.task_dicts import package_dict, package_of
from django_cluster.errors import BadSignature

__all__ = ["BadSignature", "SignedPackage"]

NO_TASK = "signed value"
"""Stands in the place of the function where what was signed is no task. It is no path: no worker runs it."""


class SignedPackage:
    """``dumps`` and ``loads`` of task dicts, in our own format: what Django-Q has signed, ``qimport`` reads."""

    @staticmethod
    def dumps(obj: Any, compressed: bool | None = None) -> str:
        """Sign a task dict, with all of its keys, or any other value. ``compressed``: not looked at; the setting
        ``compress`` decides.

        Raises ``NotSerializable`` for a foreign key of a task whose value JSON cannot carry.
        """
        package = package_of(obj) if _is_task(obj) else _package_of_value(obj)
        return _codec_of(package.header).dumps(package)

    @staticmethod
    def loads(obj: str) -> Any:
        """What was signed. Raises ``BadSignature``."""
        package = _codec_of(peek_header(obj)).loads(obj)
        return package.args[0] if package.header.func == NO_TASK else package_dict(package)


def _is_task(value: object) -> bool:
    return isinstance(value, Mapping) and "func" in value and "id" in value


def _package_of_value(value: object) -> TaskPackage:
    header = TaskHeader(id=new_task_id(), name=NO_TASK, func=NO_TASK, enqueued_at=0.0, options=TaskOptions())
    return TaskPackage(header=header, args=(value,))


def _codec_of(header: TaskHeader) -> Codec:
    """The codec of the queue that the task names: signatures hold for one queue."""
    codec = get_client().codec
    return codec.for_queue(header.options.queue) if header.options.queue else codec
