"""Asking for work: a call and its options → packages → the client of the cluster that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django_cluster.client import get_client
from django_cluster.core.call import build_options, build_packages, part


def async_task(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> str:
    """Have ``func(*args, **kwargs)`` called by the cluster; returns the task id.

    Options are taken out of the keywords: ``hook``, ``group``, ``save``, ``sync``, ``cached``,
    ``ack_failure``, ``timeout``, ``task_name``, ``cluster``, ``broker``. With ``q_options={...}`` they stand
    there, every other keyword is the function's own, and there may also be ``max_attempts``, ``retry_delay``,
    ``priority``, ``delay`` (seconds), ``eta`` (a datetime), and ``on_commit`` (see the setting of this name).

    Raises ``NotSerializable``, ``BrokerUnavailable``, ``BrokerRefused``; with ``sync`` what the task raises.
    """
    return _submit(func, [args], kwargs)[0]


def async_bulk(func: Callable[..., Any] | str, calls: Iterable[Sequence[Any] | Any], **kwargs: Any) -> list[str]:
    """One task for each item of ``calls``, sent in as few round trips as possible; returns their ids.

    An item is the tuple (or list) of positional arguments, or a single argument. Keywords and options as of
    ``async_task``, the same for all.
    """
    arguments = [tuple(item) if isinstance(item, tuple | list) else (item,) for item in calls]
    return _submit(func, arguments, kwargs)


def _submit(func: Callable[..., Any] | str, calls: Sequence[tuple[Any, ...]], kwargs: dict[str, Any]) -> list[str]:
    own, given = part(kwargs)
    packages = build_packages(func, calls, own, build_options(given), given.get("task_name"))
    if packages:
        client = get_client(given.get("cluster"))
        client.submit(packages, sync=given.get("sync"), broker=given.get("broker"), on_commit=given.get("on_commit"))
    return [package.id for package in packages]
