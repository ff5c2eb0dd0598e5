"""One run of a task of the framework, in the worker: its result object, its context, its signals."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import iscoroutinefunction

from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.task_status import TaskStatus
from django_cluster.framework.cluster_task import ClusterTaskContext
from django_cluster.framework.compat import backend_of
from django_cluster.framework.json_text import as_json
from django_cluster.framework.results import RunFacts, stored_task, task_result
from django_cluster.framework.signals import announce, is_heard


class FrameworkRun:
    """One run. ``load`` comes first, then ``call``; ``finished`` is called inside the ``except`` of a failure."""

    def __init__(
        self,
        header: TaskHeader,
        facts: RunFacts,
        *,
        read_metadata: Callable[[], Any],
        save_metadata: Callable[[Any], None],
    ) -> None:
        """``read_metadata``, ``save_metadata``: of the row of the task."""
        self._header, self._facts = header, facts
        self._read_metadata, self._save_metadata = read_metadata, save_metadata
        self._task: Any = None
        self._arguments: tuple[list[Any], dict[str, Any]] = ([], {})
        self.return_value: Any = None
        """What the task returned, as JSON."""

    def load(self) -> Any:
        """Import the task. Raises ``UnknownFunction``, and ``SuspiciousOperation`` for what is no task."""
        options = self._header.options
        alias = options.backend or ""
        self._task = stored_task(
            self._header.func,
            priority=options.priority,
            backend=alias,
            queue_name=framework_queue(alias, options.queue),
            run_after=self._facts.run_after,
        )
        return self._task

    def call(self, package: TaskPackage) -> Any:
        """Announce that the task has started, and call it; returns what it returns, as JSON. Of an ``async def`` task,
        that is what the returned coroutine returns.

        Raises what the task raises, ``TypeError`` and ``ValueError`` for a return value that is no JSON.
        """
        self._arguments = (list(package.args), dict(package.kwargs))
        result = self.result(TaskStatus.RUNNING)
        announce("task_started", result)
        context = [self._context(result)] if self._task.takes_context else []
        if iscoroutinefunction(self._task.func):
            return self._awaited(self._task.func(*context, *self._arguments[0], **self._arguments[1]))
        return self._kept(self._task.call(*context, *self._arguments[0], **self._arguments[1]))

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._kept(await coroutine)

    def _kept(self, returned: Any) -> Any:
        self.return_value = as_json(returned, "The return value")
        return self.return_value

    def backoff(self, error: BaseException) -> float | None:
        """Seconds until the next attempt by the task's own ``backoff``; None = none is due.

        Raises ``LookupError`` if the task has no such function, and whatever the function raises.
        """
        function = None if self._task is None else backend_of(self._header.options.backend or "").backoff_of(self._task)
        if function is None:
            raise LookupError("The task has no backoff.")
        pause = function(error, self.result(TaskStatus.RETRYING, [error_of(error)]))
        return pause.total_seconds() if isinstance(pause, timedelta) else pause

    @property
    def end_is_heard(self) -> bool:
        """Whether the project has receivers of ``task_finished``, which may read the row of the task."""
        return is_heard("task_finished")

    def finished(self, status: str, finished_at: datetime, errors: Iterable[Sequence[str]]) -> None:
        """Announce the end of the task."""
        if self._task is not None:
            announce("task_finished", self.result(status, errors, finished_at))

    def result(
        self, status: str, errors: Iterable[Sequence[str]] | None = None, finished_at: datetime | None = None
    ) -> Any:
        """The ``TaskResult`` of this moment. ``errors``: all of them, if they are others than when the run began."""
        facts = self._facts._replace(finished_at=finished_at)
        return task_result(
            self._task,
            facts if errors is None else facts._replace(errors=list(errors)),
            id=self._header.id,
            status=status,
            arguments=self._arguments,
            backend=self._header.options.backend or "",
            return_value=self.return_value if status == TaskStatus.SUCCESS else None,
        )

    def _context(self, result: Any) -> ClusterTaskContext:
        found = self._read_metadata()

        def save(metadata: Any) -> None:
            self._save_metadata(as_json(metadata, "The metadata"))

        return ClusterTaskContext(
            task_result=result, metadata=dict(found) if isinstance(found, Mapping) else {}, save=save
        )


def framework_queue(alias: str, queue: str | None) -> str:
    """What the framework calls the queue of a message. Where ``TASKS`` has lost the alias: the queue's own name."""
    try:
        named: str = backend_of(alias).framework_queue(queue)
    except Exception:  # noqa: BLE001  InvalidTaskBackend, or a backend that is not ours any more
        return queue or "default"
    return named


def error_of(error: BaseException) -> tuple[str, str]:
    """(path of the class, traceback) of an exception, as ``TaskError`` has them."""
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}", "".join(traceback.format_exception(error))
