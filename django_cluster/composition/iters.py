"""Iters: one function, many items, one list of results in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from django_cluster.brokers.base import Broker
from django_cluster.client.client import get_client
from django_cluster.client.enqueue import send
from django_cluster.client.results import fetch, result
from django_cluster.composition.lookup import lookup_place
from django_cluster.core.call_options import split_options, with_declared
from django_cluster.core.compositions import COLLECT_POSITION, GroupPlan, MemberRole, Membership, as_member
from django_cluster.core.messages import TaskOptions, TaskPackage, path_of_class
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import build_packages, check_hook, checked_packages
from django_cluster.core.task_ids import new_task_id
from django_cluster.errors import ItemsFailed
from django_cluster.models import Task

LIST_OPTIONS = frozenset({"cached", "group", "hook", "save", "task_name"})
"""Options that belong to the list of results, and not to each item."""
MAX_ITEMS_IN_ERROR = 10
"""Failed items that an error names."""


def async_iter(func: Callable[..., Any] | str, args_iter: Iterable[Any], **kwargs: Any) -> str:
    """Call ``func`` once for each item; returns the id under which ``result`` finds the list of all results.

    An item is a tuple of positional arguments, or a single argument. ``hook``, ``save``, ``cached``, ``group`` and
    ``task_name`` apply to the list, all other options to each item; see ``async_task``. The list has the order of the
    items. If items fail for good, the list is a failed task whose error names them. Raises what ``async_task`` raises.
    """
    own, options_given = split_options(kwargs, func)
    given = with_declared(func, options_given, LIST_OPTIONS)
    calls = [item if isinstance(item, tuple) else (item,) for item in args_iter]
    iter_id = new_task_id()
    of_list = {name: given.pop(name) for name in LIST_OPTIONS & given.keys()}
    options = build_options({**given, "save": False, "cached": False, "group": iter_id})
    items = [
        as_member(package, Membership(iter_id, position, MemberRole.ITEM))
        for position, package in enumerate(checked_packages(func, calls, own, given, options))
    ]
    collecting = _collecting(iter_id, len(items), of_list, options)
    plan = GroupPlan(id=iter_id, total=len(items), on_success=collecting, on_failure=collecting)
    send(items or [collecting], given, group=plan if items else None)
    return iter_id


def _collecting(iter_id: str, total: int, given: Mapping[str, Any], like: TaskOptions) -> TaskPackage:
    options = build_options({name: value for name, value in given.items() if name != "task_name"})
    if hook := given.get("hook"):
        check_hook(hook)
    options = replace(
        options,
        priority=like.priority,
        queue=like.queue,
        correlation_id=like.correlation_id,
        no_retry_on=(path_of_class(ItemsFailed),),
    )
    name = given.get("task_name")
    package = build_packages(collect, [(iter_id, total)], {}, options, name)[0]
    return as_member(package, Membership(iter_id, COLLECT_POSITION, MemberRole.COLLECT), named=name is not None)


def collect(iter_id: str, total: int) -> list[Any]:
    """Return the results of an iter, in the order of its items; the cluster runs it when all items have ended.

    Raises ``ItemsFailed`` with the positions of the items that failed.
    """
    members = get_client().results.groups.members(iter_id)
    failed = [f"item {member.position} ({member.error})" for member in members if not member.success]
    if failed:
        more = [f"{len(failed) - MAX_ITEMS_IN_ERROR} more"] if len(failed) > MAX_ITEMS_IN_ERROR else []
        raise ItemsFailed(f"{len(failed)} of {total} items failed: {', '.join(failed[:MAX_ITEMS_IN_ERROR] + more)}.")
    if len(members) < total:
        raise ItemsFailed(f"Of {total} results only {len(members)} are still there.")
    return [member.result for member in members]


class Iter:
    """A function and its items as an object; see ``async_iter``."""

    def __init__(
        self,
        func: Callable[..., Any] | str | None = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        cached: bool | int | None = None,
        sync: bool | None = None,
        broker: Broker | str | None = None,
    ) -> None:
        self.id = ""
        self.started = False
        self.func = func
        self.args: tuple[Any, ...] = tuple(args or ())
        self.kwargs = dict(kwargs or {})
        self.cached, self.sync, self.broker = cached, sync, broker

    def append(self, *args: Any) -> int:
        """Add an item with these arguments; returns the number of items. The iter has to be sent again."""
        self.args = (*self.args, args)  # also of one argument, which may be a tuple itself
        self.started = False
        return self.length()

    def run(self) -> str:
        """Send the items; returns the id of the list. Raises ``ValueError`` without a function."""
        if self.func is None:
            raise ValueError("An iter needs a function.")
        own, given = split_options(self.kwargs)
        mine = {"cached": self.cached, "sync": self.sync, "broker": self.broker}
        options = {**given, **{name: value for name, value in mine.items() if value is not None}}
        self.id = async_iter(self.func, self.args, **own, q_options=options)
        self.started = True
        return self.id

    def result(self, wait: int = 0) -> list[Any] | None:
        """Return the list of results, or the error text if items failed; None until it is complete."""
        found: list[Any] | None = result(self.id, wait=wait, cached=lookup_place(self.cached)) if self.started else None
        return found

    def fetch(self, wait: int = 0) -> Task | None:
        """Return the task that collected the results; None until it has ended."""
        return fetch(self.id, wait=wait, cached=lookup_place(self.cached)) if self.started else None

    def length(self) -> int:
        """Return the number of items."""
        return len(self.args)
