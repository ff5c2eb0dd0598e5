"""Chains: calls that run one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django_cluster.brokers.base import Broker
from django_cluster.client.client import get_client
from django_cluster.client.enqueue import send
from django_cluster.client.results import count_group, delete_group, fetch_group
from django_cluster.composition.lookup import in_order, lookup_place
from django_cluster.core.compositions import TaskCall, as_task_call, in_chain, packages_of_links
from django_cluster.core.option_values import build_options
from django_cluster.core.task_ids import new_task_id
from django_cluster.errors import ResultsPruned
from django_cluster.models import Task
from django_cluster.stores.base import UNFINISHED, Unfinished, wait_for


def async_chain(
    chain: Iterable[Any],
    group: str | None = None,
    cached: bool | int | None = None,
    sync: bool | None = None,
    broker: Broker | str | None = None,
    *,
    stop_on_failure: bool = True,
    on_commit: bool | str | None = None,
) -> str:
    """Send calls as a chain: each is sent when the one before has succeeded; returns the group id of their tasks.

    An item of ``chain`` is a function, a tuple (function[, args[, kwargs]]), or a ``call``. ``stop_on_failure=False``:
    the chain continues after a link that failed for good. ``group``: default: a new id. The other options are those of
    ``async_task``.

    Raises ``ValueError`` for a chain without links, and what ``async_task`` raises.
    """
    links = Chain(chain, group, cached, sync, broker, stop_on_failure=stop_on_failure, on_commit=on_commit)
    return links.run()


class Chain:
    """Calls that run one after another, as an object; see ``async_chain``."""

    def __init__(
        self,
        chain: Iterable[Any] | None = None,
        group: str | None = None,
        cached: bool | int | None = None,
        sync: bool | None = None,
        broker: Broker | str | None = None,
        *,
        stop_on_failure: bool = True,
        on_commit: bool | str | None = None,
    ) -> None:
        self.calls: tuple[TaskCall, ...] = tuple(map(as_task_call, chain or ()))
        self.group = group or new_task_id()
        self.cached, self.sync, self.broker = cached, sync, broker
        self.stop_on_failure, self.on_commit = stop_on_failure, on_commit
        self.started = False
        self.ids: tuple[str, ...] = ()
        """The task ids of the links, once they were sent."""

    def append(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> int:
        """Add a call at the end; returns the number of calls. If the chain was sent before, its results are
        deleted.
        """
        self.calls = (*self.calls, TaskCall(func, args, kwargs))
        if self.started:
            delete_group(self.group)
            self.started = False
        return self.length()

    def run(self) -> str:
        """Send the chain; returns its group id. Raises ``ValueError`` for a chain without links."""
        if not self.calls:
            raise ValueError("A chain has at least one link.")
        like = build_options({"group": self.group, "cached": self.cached})
        packages = in_chain(
            packages_of_links(self.calls, like), get_client().settings.queue, lenient=not self.stop_on_failure
        )
        first = packages[0].header.options
        broker = self.broker or first.broker
        options = {"sync": self.sync, "broker": broker, "on_commit": self.on_commit, "queue": first.queue}
        self.ids = tuple(package.id for package in packages)
        self.started = True
        send(packages, options, chain=True)
        return self.group

    def result(self, wait: int = -1) -> list[Any] | None:
        """Return the results of the links, in order, as soon as the chain has ended; None if it was not sent.

        ``wait``: milliseconds; default: no limit. Raises ``ResultsPruned``, see ``fetch``.
        """
        tasks = self.fetch(failures=False, wait=wait)
        return None if tasks is None else [task.result for task in tasks]

    def fetch(self, failures: bool = True, wait: int = -1) -> list[Task] | None:
        """Return the finished tasks of the links, in order; with ``failures=False`` only those that succeeded.

        Waits up to ``wait`` milliseconds (default: no limit) until the chain has ended. None if it was not sent.
        Raises ``ResultsPruned`` if the chain has ended and results of some links were not kept.
        """
        if not self.started:
            return None
        tasks: list[Task] = []
        missing = 0

        def look() -> bool | Unfinished:
            nonlocal missing
            found = self._found(tasks)
            if self._has_ended([task.success for task in tasks if task.final]):
                missing = _gaps(found)
                return True
            # Nothing may ever be written of a link: what is noted of its place says that it has ended.
            noted = get_client().results.groups.members(self.ids[0])
            if {member.task for member in noted} - {task.id for task in tasks}:
                self._found(tasks)  # perhaps their rows were written a moment ago, together with the notes
            missing = len({member.task for member in noted} - {task.id for task in tasks})
            return self._has_ended([member.success for member in noted]) or UNFINISHED

        if wait_for(look, wait) is not UNFINISHED and missing:
            raise ResultsPruned(f"The results of {missing} of {len(self.ids)} links were not kept, or are deleted.")
        return [task for task in tasks if failures or task.success]

    def _found(self, tasks: list[Task]) -> list[Task | None]:
        """For each link its task, or None; ``tasks`` becomes the list of those that there are."""
        found = in_order(fetch_group(self.group, wait=0, cached=lookup_place(self.cached)), self.ids)
        tasks[:] = [task for task in found if task is not None]
        return found

    def _has_ended(self, ended: Sequence[bool]) -> bool:
        """``ended``: whether each link that will not run again has succeeded."""
        return len(ended) >= len(self.ids) or (self.stop_on_failure and not all(ended))

    def current(self) -> int | None:
        """Return how many links have finished; None if the chain was not sent."""
        return count_group(self.group, cached=lookup_place(self.cached)) if self.started else None

    def length(self) -> int:
        """Return the number of calls."""
        return len(self.calls)


def _gaps(found: Sequence[Task | None]) -> int:
    """How many links before the last that is there are not: they have ended, and were not kept."""
    last = max((place for place, task in enumerate(found) if task is not None), default=0)
    return found[:last].count(None)
