"""One task as an object: it can be changed until it is sent, and has its result afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_cluster.client.enqueue import async_task
from django_cluster.client.results import fetch, fetch_group, result, result_group
from django_cluster.composition.lookup import lookup_place
from django_cluster.models import Task


class CallOption:
    """An option of the call as an attribute. Setting it means that the call has to be sent again."""

    def __set_name__(self, owner: type[AsyncTask], name: str) -> None:
        self._name = name

    def __get__(self, task: AsyncTask, owner: type[AsyncTask] | None = None) -> Any:
        return task.options().get(self._name)

    def __set__(self, task: AsyncTask, value: Any) -> None:
        task.options()[self._name] = value
        task.started = False


class AsyncTask:
    """A call as an object: changed until ``run`` sends it, then read with ``result`` and ``fetch``.

    ``broker``, ``sync``, ``save``, ``hook``, ``group`` and ``cached`` can be read and set; after one was set, the call
    has to be sent again. The methods that read results return None until it is sent. ``wait`` is in milliseconds.
    """

    broker = CallOption()
    sync = CallOption()
    save = CallOption()
    hook = CallOption()
    group = CallOption()
    cached = CallOption()

    def __init__(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> None:
        self.id = ""
        self.started = False
        self.func = func
        self.args = args
        self.kwargs = kwargs
        if kwargs.get("q_options") is not None:
            self.kwargs = {**kwargs, "q_options": dict(kwargs["q_options"])}

    def run(self) -> str:
        """Send the task; returns its id. Raises what ``async_task`` raises."""
        self.id = async_task(self.func, *self.args, **self.kwargs)
        self.started = True
        return self.id

    def result(self, wait: int = 0) -> Any:
        """Return what the task returned; see ``django_cluster.tasks.result``."""
        return result(self.id, wait=wait, cached=lookup_place(self.cached)) if self.started else None

    def fetch(self, wait: int = 0) -> Task | None:
        """Return the finished task, or None; see ``django_cluster.tasks.fetch``."""
        return fetch(self.id, wait=wait, cached=lookup_place(self.cached)) if self.started else None

    def result_group(self, failures: bool = False, wait: int | None = None, count: int | None = None) -> Any:
        """Return the results of its group; see ``django_cluster.tasks.result_group``."""
        if not self.started or not self.group:
            return None
        return result_group(self.group, failures, wait, count, cached=lookup_place(self.cached))

    def fetch_group(self, failures: bool = True, wait: int | None = None, count: int | None = None) -> Any:
        """Return the finished tasks of its group; see ``django_cluster.tasks.fetch_group``."""
        if not self.started or not self.group:
            return None
        return fetch_group(self.group, failures, wait, count, cached=lookup_place(self.cached))

    def options(self) -> dict[str, Any]:
        """Return the dict that holds the options of this call."""
        given = self.kwargs.get("q_options")
        return self.kwargs if given is None else given
