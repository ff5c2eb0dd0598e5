"""The test kit: what a test says about tasks, as one object, and a mixin for test cases that have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django_cluster.core.import_paths import TaskLike
from django_cluster.testing import faults, inspection, pending
from django_cluster.testing.cluster import ClusterUnderTest
from django_cluster.testing.inspection import EnqueuedTask
from django_cluster.testing.modes import TaskMode, task_mode

__all__ = ["TaskKit", "TaskTestMixin", "task_kit"]


class TaskKit:
    """What a test may do with tasks; the fixture ``tasks`` of pytest, and ``self.tasks`` with ``TaskTestMixin``."""

    def __init__(self, mode: TaskMode, cluster: ClusterUnderTest | None, stack: ExitStack) -> None:
        self.mode = mode
        """What happens to tasks that are sent."""
        self._cluster, self._stack = cluster, stack

    def enqueued(self, queue: str | None = None) -> list[EnqueuedTask]:
        """The tasks that were sent and have not been run: see ``django_cluster.testing.enqueued()``."""
        return inspection.enqueued(queue)

    def assert_enqueued(
        self,
        func: TaskLike,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        on_commit: bool | None = None,
        times: int | None = None,
    ) -> EnqueuedTask:
        """Fail unless such a call is enqueued: see ``django_cluster.testing.assert_enqueued``."""
        return inspection.assert_enqueued(func, args, kwargs, queue=queue, on_commit=on_commit, times=times)

    def assert_not_enqueued(
        self,
        func: TaskLike | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
    ) -> None:
        """Fail if such a call, or anything, is enqueued: see ``django_cluster.testing.assert_not_enqueued``."""
        inspection.assert_not_enqueued(func, args, kwargs, queue=queue)

    def run_pending(
        self,
        queue: str | None = None,
        *,
        until: datetime | timedelta | None = None,
        raise_errors: bool = True,
        limit: int = 1000,
    ) -> list[str]:
        """Run what is due: see ``django_cluster.testing.run_pending``.

        With a real cluster, wait until it has done that; real time passes then, up to ``until``.
        """
        if self._cluster is not None:
            return self._cluster.wait(queue, until=until, raise_errors=raise_errors)
        return pending.run_pending(queue, until=until, raise_errors=raise_errors, limit=limit)

    def run_schedules(
        self,
        until: datetime | timedelta | None = None,
        *,
        queue: str | None = None,
        run_tasks: bool = False,
        limit: int = 1000,
    ) -> list[str]:
        """Send what the schedules have due: see ``django_cluster.testing.run_schedules``."""
        return pending.run_schedules(until, queue=queue, run_tasks=run_tasks, limit=limit)

    def forget_enqueued(self, queue: str | None = None) -> int:
        """Empty the queue, or all of them; returns the number of messages."""
        return inspection.forget_enqueued(queue)

    def fail_at(
        self,
        func: TaskLike,
        *attempts: int,
        error: BaseException | type[BaseException] = faults.InjectedFailure,
    ) -> None:
        """Let these runs of a function raise ``error``, until the end of the test. Without numbers: the first run."""
        self._stack.enter_context(faults.fail_at(func, *attempts, error=error))

    def time_out_at(self, func: TaskLike, *attempts: int) -> None:
        """Let these runs of a function exceed their time limit, until the end of the test."""
        self._stack.enter_context(faults.time_out_at(func, *attempts))

    def kill_worker_at(self, func: TaskLike, *attempts: int) -> None:
        """Let the worker die at these runs of a function, until the end of the test."""
        self._stack.enter_context(faults.kill_worker_at(func, *attempts))


@contextmanager
def task_kit(mode: TaskMode | str = TaskMode.KEPT) -> Iterator[TaskKit]:
    """The kit for one test: inside the block tasks are treated as ``mode`` says."""
    with task_mode(mode) as cluster, ExitStack() as stack:
        yield TaskKit(TaskMode(mode), cluster, stack)


class TaskTestMixin:
    """For test cases: ``class OrderTests(TaskTestMixin, TestCase)``. Their own ``setUp`` calls ``super().setUp()``."""

    task_mode: ClassVar[TaskMode | str] = TaskMode.KEPT
    """What happens to the tasks that these tests send."""
    tasks: TaskKit

    def setUp(self) -> None:
        """Start the mode, which ends after ``tearDown``."""
        above: Any = super()
        above.setUp()
        case: Any = self
        self.tasks = case.enterContext(task_kit(self.task_mode))
