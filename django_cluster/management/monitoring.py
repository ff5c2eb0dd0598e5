"""Collectors and operator actions for the commands ``qinfo``, ``qmonitor`` and ``qmemory``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django_cluster import control
from django_cluster.brokers import needs_delay_queue, open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.publisher import delay_queue
from django_cluster.conf import known_queues, load_settings, queues_of
from django_cluster.core.codec import Codec, header_of
from django_cluster.core.messages import TaskHeader
from django_cluster.core.settings import Settings
from django_cluster.dashboard.collector import Collector
from django_cluster.errors import ClusterError
from django_cluster.models.task import saved_tasks

BY_TERMINAL = "qmonitor"
"""The name under which ``qmonitor`` gives commands: a terminal knows no user."""


def settings_of(names: Sequence[str]) -> Settings:
    """The settings of the named queue; with several names, or none, those of the root."""
    queues = named_queues(names) if names else []
    return load_settings(queues[0] if len(queues) == 1 else None)


def named_queues(names: Sequence[str]) -> list[str]:
    """The queues that ``--name`` means, as in ``qcluster``; raises ``ClusterError`` with a sentence."""
    try:
        return queues_of(names)
    except ValueError as error:
        raise ClusterError(str(error)) from error


def delay_queue_broker(queue: str) -> Broker | None:
    """Where messages of a queue wait that its broker cannot delay for so long; None = nowhere else."""
    section = load_settings(queue).broker
    return delay_queue(section) if needs_delay_queue(section) else None


def open_collector(names: Sequence[str] = ()) -> Collector:
    """Return a collector for these queues; without a name, for all queues of the settings."""
    settings = settings_of(names)
    codec = Codec(settings.signing)

    def broker_of(queue: str) -> Broker:
        return open_broker(load_settings(queue).broker)

    def read_label(queue: str, payload: str) -> TaskHeader:
        return header_of(codec.for_queue(queue).verify(payload))

    return Collector(
        label=settings.name,
        queues=tuple(named_queues(names) if names else known_queues()),
        open_broker=broker_of,
        read_label=read_label,
        database=settings.results.database,
    )


def retry(task_id: str) -> str:
    database = load_settings().results.database
    task = saved_tasks(database).filter(pk=task_id).first()
    if task is None:
        return "The row of this task no longer exists."
    return f"Task retried with the id {control.retry(task)}."


def cancel(queue: str, key: str) -> str:
    done = control.cancel_messages([key], queue, by=BY_TERMINAL)
    return "Task cancelled." if done else "The task is no longer waiting."


def cancel_running(task_id: str) -> str:
    if not control.cancel(task_id, by=BY_TERMINAL):
        return "The task has ended."
    return "The task is cancelled within a second."


def pause(queue: str) -> str:
    control.pause(queue, by=BY_TERMINAL)
    return f"Queue {queue} is paused: clusters lease nothing from it."


def resume(queue: str) -> str:
    control.resume(queue)
    return f"Queue {queue} is resumed."


def restart_worker(cluster_id: str, incarnation: str) -> str:
    control.restart_worker(cluster_id, int(incarnation), by=BY_TERMINAL)
    return "The worker restarts after its current task."


CONTROLS: Mapping[str, Any] = {
    "retry": retry,
    "cancel": cancel,
    "cancel_running": cancel_running,
    "pause": pause,
    "resume": resume,
    "restart_worker": restart_worker,
}


def is_ascii_only(stream: Any = None) -> bool:
    """Whether the stream cannot write the characters of charts and frames."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    try:
        "█⣿─".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return True
    return False


@contextmanager
def no_records_on_terminal() -> Iterator[None]:
    """Keep log records off the terminal while a screen is drawn there; files and services still get them."""
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    handlers = {handler for logger in (logging.root, *known) for handler in logger.handlers} | {logging.lastResort}
    muted = [each for each in handlers if isinstance(each, logging.StreamHandler) and _is_terminal(each.stream)]
    for handler in muted:
        handler.addFilter(_no_record)
    try:
        yield
    finally:
        for handler in muted:
            handler.removeFilter(_no_record)


def _no_record(_record: logging.LogRecord) -> bool:
    return False


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # a file that is not open, or closed
        return False
