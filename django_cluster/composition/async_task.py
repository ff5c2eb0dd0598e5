"""One task, held in the hand: changed until it is run, asked for its result afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_cluster.client.enqueue import async_task
from django_cluster.client.results import fetch, fetch_group, result, result_group
from django_cluster.composition.lookup import lookup_place
from django_cluster.models import Task


class CallOption:
    """An option of a call as an attribute; to set it means that the call has to be run again."""

    def __set_name__(self, owner: type[AsyncTask], name: str) -> None:
        self._name = name

    def __get__(self, task: AsyncTask, owner: type[AsyncTask] | None = None) -> Any:
        return task.options().get(self._name)

    def __set__(self, task: AsyncTask, value: Any) -> None:
        task.options()[self._name] = value
        task.started = False


class AsyncTask:
    """A call that may be changed until it is run, and asked for its result afterwards.

    ``broker``, ``sync``, ``save``, ``hook``, ``group`` and ``cached`` may be read and set; setting one means that it
    has to be run again. The readers return None until it is run.
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
        """Send it; returns the task id."""
        self.id = async_task(self.func, *self.args, **self.kwargs)
        self.started = True
        return self.id

    def result(self, wait: int = 0) -> Any:
        """What the task returned; see ``result``."""
        return result(self.id, wait=wait, cached=lookup_place(self.cached)) if self.started else None

    def fetch(self, wait: int = 0) -> Task | None:
        """The finished task; see ``fetch``."""
        return fetch(self.id, wait=wait, cached=lookup_place(self.cached)) if self.started else None

    def result_group(self, failures: bool = False, wait: int | None = None, count: int | None = None) -> Any:
        """What the tasks of its group returned; see ``result_group``."""
        if not self.started or not self.group:
            return None
        return result_group(self.group, failures, wait, count, cached=lookup_place(self.cached))

    def fetch_group(self, failures: bool = True, wait: int | None = None, count: int | None = None) -> Any:
        """The finished tasks of its group; see ``fetch_group``."""
        if not self.started or not self.group:
            return None
        return fetch_group(self.group, failures, wait, count, cached=lookup_place(self.cached))

    def options(self) -> dict[str, Any]:
        """Where the options of this call stand."""
        given = self.kwargs.get("q_options")
        return self.kwargs if given is None else given
