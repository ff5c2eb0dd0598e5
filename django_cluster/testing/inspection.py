"""See what is enqueued: in the queues, and in transactions that are still open."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connections

from django_cluster.brokers.base import Broker
from django_cluster.client.on_commit import SendOnCommit
from django_cluster.core.codec import Codec
from django_cluster.core.import_paths import TaskLike, task_path
from django_cluster.core.messages import TaskOptions, TaskPackage
from django_cluster.testing.due import MANY, due_of
from django_cluster.testing.queues import queues_under_test
from django_cluster.testing.transactions import on_commit_callbacks

__all__ = ["EnqueuedTask", "assert_enqueued", "assert_not_enqueued", "enqueued", "forget_enqueued"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueuedTask:
    """A task that was sent and has not been run."""

    id: str
    func: str
    """Dotted path of the function."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    queue: str
    on_commit: bool
    """Whether it is sent, or becomes visible for a cluster, with the commit of a transaction that is still open."""
    due: float | None
    """Unix time before which it may not run; None = at any time."""
    options: TaskOptions = field(repr=False)

    def __str__(self) -> str:
        notes = [f"queue {self.queue}"]
        if self.due is not None and self.due > time.time():
            notes.append(f"due in {self.due - time.time():.0f} s")
        if self.on_commit:
            notes.append("with the commit")
        return f"{call_text(self.func, self.args, self.kwargs)}  [{', '.join(notes)}]"


def enqueued(queue: str | None = None) -> list[EnqueuedTask]:
    """The tasks that were sent to a queue (None: to any) and have not been run, in the order of execution.

    Delayed tasks are included, and at the end those that wait for the commit of an open transaction.
    """
    found = [
        task
        for place in queues_under_test(queue)
        for task in _read(place.broker, place.client.codec, place.broker.peek(MANY), on_commit=False)
    ]
    for callback in on_commit_callbacks():
        if isinstance(callback, SendOnCommit) and queue in (None, callback.sender.broker.queue):
            found += _read(callback.sender.broker, callback.sender.codec, callback.messages, on_commit=True)
    return found


def _read(broker: Broker, codec: Codec, messages: Sequence[Any], *, on_commit: bool) -> Iterator[EnqueuedTask]:
    """``messages``: each has a payload, and perhaps a due time."""
    waits = on_commit or (broker.database is not None and connections[broker.database].in_atomic_block)
    for message in messages:
        package: TaskPackage = codec.loads(message.payload)
        header = package.header
        yield EnqueuedTask(
            id=header.id,
            func=header.func,
            args=package.args,
            kwargs=package.kwargs,
            queue=broker.queue,
            on_commit=waits,
            due=due_of(header, getattr(message, "due", None)) or None,
            options=header.options,
        )


def assert_enqueued(
    func: TaskLike,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    queue: str | None = None,
    on_commit: bool | None = None,
    times: int | None = None,
) -> EnqueuedTask:
    """Fail unless a call of this function is enqueued; returns the first one.

    What is None is not compared: the arguments, the queue, whether it waits for the commit of a transaction
    (``on_commit``), how many such calls there are (``times``; at least one).
    """
    found = enqueued(queue)
    matching = _matching(found, func, args, kwargs, on_commit)
    if matching and times in (None, len(matching)):
        return matching[0]
    wanted = _wanted(func, args, kwargs, queue, on_commit)
    if matching:
        raise AssertionError(f"{wanted} is enqueued {len(matching)} times, not {times}.{_listed(matching)}")
    raise AssertionError(f"{wanted} is not enqueued.{_listed(found, ' Enqueued instead:')}{_hint()}")


def assert_not_enqueued(
    func: TaskLike | None = None,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    queue: str | None = None,
) -> None:
    """Fail if a call of this function is enqueued; without a function, if anything is. What is None is not compared."""
    found = enqueued(queue)
    if func is None:
        if found:
            raise AssertionError(f"Nothing should be enqueued.{_listed(found)}")
    elif matching := _matching(found, func, args, kwargs, None):
        raise AssertionError(f"{_wanted(func, args, kwargs, queue, None)} should not be enqueued.{_listed(matching)}")


def forget_enqueued(queue: str | None = None) -> int:
    """Empty the queue (None: all queues); returns the number of messages. For brokers that no rollback affects."""
    return sum(place.broker.purge() for place in queues_under_test(queue, act="forget_enqueued()"))


def _matching(
    tasks: Sequence[EnqueuedTask],
    func: TaskLike,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    on_commit: bool | None,
) -> list[EnqueuedTask]:
    path = task_path(func)
    return [
        task
        for task in tasks
        if task.func == path
        and (args is None or task.args == tuple(args))
        and (kwargs is None or task.kwargs == kwargs)
        and on_commit in (None, task.on_commit)
    ]


def _wanted(
    func: TaskLike,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    queue: str | None,
    on_commit: bool | None,
) -> str:
    path = task_path(func)
    call = path if args is None and kwargs is None else call_text(path, args, kwargs)
    where = f" in the queue {queue}" if queue else ""
    when = {None: "", True: " with the commit of a transaction", False: " without waiting for a commit"}[on_commit]
    return f"{call}{where}{when}"


def call_text(path: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> str:
    """A call as it is written in code; ``…`` for arguments that are None."""
    given = ["*…"] if args is None else [repr(each) for each in args]
    given += ["**…"] if kwargs is None else [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"{path}({', '.join(given)})"


def _listed(tasks: Sequence[EnqueuedTask], head: str = " Enqueued:") -> str:
    return head + ("".join(f"\n  {task}" for task in tasks) or " nothing.")


def _hint() -> str:
    """What may send the task later."""
    others = [each for each in on_commit_callbacks() if not isinstance(each, SendOnCommit)]
    if not others:
        return ""
    return f"\nOther callbacks wait for the commit of a transaction: {len(others)}. run_pending() calls them."
