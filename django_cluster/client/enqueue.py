"""Asking for work: a call and its options → packages → the client of the cluster that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation

from django_cluster.client.client import get_client
from django_cluster.conf import known_queues
from django_cluster.core.call import build_options, checked_packages, split_options, with_declared
from django_cluster.core.compositions import GroupPlan, in_chain, packages_of_links
from django_cluster.core.events.cluster import UNKNOWN_QUEUE
from django_cluster.core.messages import TaskPackage
from django_cluster.core.suggestions import closest_match


def async_task(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> str:
    """Have ``func(*args, **kwargs)`` called by the cluster; returns the task id.

    Options are taken out of the keywords: ``hook``, ``group``, ``save``, ``sync``, ``cached``, ``ack_failure``,
    ``timeout``, ``task_name``, ``queue`` (or ``cluster``), ``broker``, ``chain`` (calls that follow when this one
    has succeeded, see ``async_chain``). With ``q_options={...}`` they stand
    there, every other keyword is the function's own, and there may also be ``max_attempts``, ``retry_delay``,
    ``priority``, ``delay`` (seconds), ``eta`` (a datetime), and ``on_commit`` (see the setting of this name).

    Raises ``TypeError`` for arguments that the function does not take (a path is looked at only if its module is
    imported already), ``UnsuitableFunction`` for an async function or a generator, ``NotSerializable``,
    ``BrokerUnavailable``, ``BrokerRefused``; with ``sync`` what the task raises.
    """
    own, options = split_options(kwargs, func)
    given = with_declared(func, options)
    follows = given.pop("chain", None)
    packages = checked_packages(func, [args], own, given, build_options(given))
    if follows:
        packages = in_chain(
            [*packages, *packages_of_links(follows, packages[0].header.options)], get_client().settings.queue
        )
    return send(packages, given, chain=bool(follows))[0]


def async_bulk(func: Callable[..., Any] | str, calls: Iterable[Sequence[Any] | Any], **kwargs: Any) -> list[str]:
    """One task for each item of ``calls``, sent in as few round trips as possible; returns their ids.

    An item is the tuple (or list) of positional arguments, or a single argument. Keywords and options as of
    ``async_task``, the same for all.
    """
    arguments = [tuple(item) if isinstance(item, tuple | list) else (item,) for item in calls]
    own, options = split_options(kwargs, func)
    given = with_declared(func, options)
    return send(checked_packages(func, arguments, own, given, build_options(given)), given)


def send(
    packages: Sequence[TaskPackage], given: Mapping[str, Any], *, chain: bool = False, group: GroupPlan | None = None
) -> list[str]:
    """Hand packages to the client as the options ``queue``, ``sync``, ``broker``, ``on_commit`` say; their ids.

    ``chain``: one after the other. ``group``: what is to be known of the group that they are.
    """
    if packages:
        warn_of_unknown_queue(given.get("queue"))
        client = get_client(given.get("queue"))
        try:
            client.submit(
                [client.chained(packages)] if chain else packages,
                group=group,
                sync=given.get("sync"),
                broker=given.get("broker"),
                on_commit=given.get("on_commit"),
            )
        except SynchronousOnlyOperation as error:
            error.add_note("In async code: `await aasync_task(…)`, or `await task.adelay(…)` of a task object.")
            raise
    return [package.id for package in packages]


@cache
def warn_of_unknown_queue(name: str | None) -> None:
    """Log, once in a process, that the settings do not name this queue: perhaps no cluster works on it."""
    known = known_queues() if name else []
    if name and name not in known:
        near = closest_match(name, known)
        meant = f" Did you mean {near!r}?" if near else ""
        UNKNOWN_QUEUE.log(queue=name, suggestion=meant)
