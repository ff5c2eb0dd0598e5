"""Groups: calls that run concurrently, and the tasks that follow when all of them have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from django_cluster.brokers.base import Broker
from django_cluster.client.enqueue import send
from django_cluster.client.results import count_group, fetch_group
from django_cluster.composition.lookup import in_order
from django_cluster.core.call_options import one_queue
from django_cluster.core.compositions import (
    FAILURE_POSITION,
    SUCCESS_POSITION,
    GroupPlan,
    MemberRole,
    Membership,
    TaskCall,
    as_member,
    as_task_call,
    member_id,
    package_of_call,
)
from django_cluster.core.messages import TaskPackage
from django_cluster.core.task_ids import new_task_id
from django_cluster.errors import ResultsPruned
from django_cluster.models import Task


def call(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> TaskCall:
    """Return ``func(*args, **kwargs)`` as an item of a chain or a group; the keywords include options of
    ``async_task``.
    """
    return TaskCall(func, args, kwargs)


@dataclass(frozen=True, slots=True)
class SendOptions:
    """The options with which a group is sent."""

    sync: bool | None = None
    broker: Broker | str | None = None
    on_commit: bool | str | None = None
    queue: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"sync": self.sync, "broker": self.broker, "on_commit": self.on_commit, "queue": self.queue}


class Group:
    """Calls that run concurrently, and the tasks that follow when all of them have ended.

    Immutable: ``on_success`` (or ``then``) and ``on_failure`` return a new group with the same id. The tasks have the
    id as their group, so that ``result_group(group.id)`` and the other readers find them. A group can be sent once.
    """

    def __init__(
        self,
        calls: Iterable[Any] = (),
        *,
        sync: bool | None = None,
        broker: Broker | str | None = None,
        on_commit: bool | str | None = None,
        queue: str | None = None,
        cluster: str | None = None,
    ) -> None:
        """``calls``: functions, tuples (function[, args[, kwargs]]), or ``call``s. ``cluster``: the same as
        ``queue``.
        """
        self.id = new_task_id()
        self.calls: tuple[TaskCall, ...] = tuple(map(as_task_call, calls))
        self._options = SendOptions(sync, broker, on_commit, one_queue(queue, cluster))
        self._success: TaskCall | None = None
        self._failure: TaskCall | None = None

    def on_success(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Self:
        """Return a group that runs ``func(*args, **kwargs)`` as a task, once, when every call has succeeded."""
        return self._with(_success=TaskCall(func, args, kwargs))

    def on_failure(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Self:
        """Return a group that runs ``func(*args, **kwargs)`` as a task, once, when all have ended and some failed."""
        return self._with(_failure=TaskCall(func, args, kwargs))

    then = on_success

    def _with(self, **changes: TaskCall) -> Self:
        new = type(self).__new__(type(self))
        new.__dict__.update({**self.__dict__, **changes})
        return new

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the tasks, in the order of the calls."""
        return tuple(member_id(self._place(position)) for position in range(len(self.calls)))

    def run(self) -> str:
        """Send the calls; returns the id of the group. Raises ``ValueError`` if it was sent before."""
        on_success = self._follow(self._success, SUCCESS_POSITION)
        on_failure = self._follow(self._failure, FAILURE_POSITION)
        if not self.calls:
            send([on_success] if on_success else [], self._options.as_dict())
            return self.id
        plan = GroupPlan(id=self.id, total=len(self.calls), on_success=on_success, on_failure=on_failure)
        send([self._package(position) for position in range(len(self.calls))], self._options.as_dict(), group=plan)
        return self.id

    def _package(self, position: int) -> TaskPackage:
        package, named = package_of_call(self.calls[position])
        if package.header.options.broker or package.header.options.queue:
            raise TypeError("The queue and the broker belong to the group: Group(calls, queue=..., broker=...).")
        return as_member(package, self._place(position), named=named, group=self.id)

    def _follow(self, call: TaskCall | None, position: int) -> TaskPackage | None:
        if call is None:
            return None
        package, named = package_of_call(call)
        return as_member(package, Membership(self.id, position, MemberRole.FOLLOW), named=named)

    def _place(self, position: int) -> Membership:
        return Membership(self.id, position, MemberRole.CALL)

    def result(self, failures: bool = False, wait: int = 0) -> list[Any]:
        """Return the results of the calls, in order; with ``failures=True`` the error texts of failed ones included.

        ``wait``: milliseconds to wait until all have ended; negative = no limit. Raises ``ResultsPruned``, see
        ``fetch``.
        """
        return [task.result for task in self.fetch(failures, wait)]

    def fetch(self, failures: bool = True, wait: int = 0) -> list[Task]:
        """Return the finished tasks, in the order of the calls; with ``failures=False`` only those that succeeded.

        ``wait``: milliseconds to wait until all have ended; negative = no limit. Raises ``ResultsPruned`` if all have
        ended and some results were not kept (``save=False``), or are deleted.
        """
        if not self.calls:
            return []
        found = in_order(fetch_group(self.id, True, wait, count=len(self.calls)), self.ids)
        tasks = [task for task in found if task is not None]
        missing = len(self.calls) - len(tasks)
        if missing and count_group(self.id) >= len(self.calls):
            raise ResultsPruned(f"The results of {missing} of {len(self.calls)} calls were not kept, or are deleted.")
        return [task for task in tasks if failures or task.success]

    def length(self) -> int:
        """Return the number of calls."""
        return len(self.calls)
