"""Send calls as tasks: a call and its options become packages, which go to the client of the queue that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation

from django_cluster.client.client import get_client
from django_cluster.conf import known_queues
from django_cluster.core.call_options import split_options, with_declared
from django_cluster.core.compositions import GroupPlan, in_chain, packages_of_links
from django_cluster.core.events.cluster import UNKNOWN_QUEUE
from django_cluster.core.messages import TaskPackage
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import checked_packages
from django_cluster.core.suggestions import closest_match


def async_task(func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> str:
    """Send ``func(*args, **kwargs)`` to the cluster as a task; returns the task id (32 hexadecimal digits)
    immediately.

    ``func`` is a function of a module, or its dotted path, which is not imported here. These keywords are options of
    the task, not arguments of the function: ``task_name``, ``group``, ``queue`` (or ``cluster``), ``broker``,
    ``timeout`` (seconds), ``hook``, ``chain`` (calls that follow a success), ``save``, ``cached``, ``sync``,
    ``ack_failure``. With ``q_options={...}``, all options are given in that dict, and every other keyword is the
    function's own. The dict may also have ``max_attempts``, ``retry_delay`` and ``retry_backoff``, ``retry_on``,
    ``no_retry_on``, ``priority`` (-100 to 100), ``correlation_id``, ``delay`` (seconds), ``eta`` (a datetime),
    ``expires`` (seconds, or a datetime), ``track`` and ``on_commit``.

    Raises ``TypeError`` for arguments that the function does not take and for unknown options, ``ValueError`` for an
    option value out of range, ``UnknownFunction``, ``UnsuitableFunction`` (async functions, generators),
    ``FunctionNotAllowed``, ``NotSerializable``, ``BrokerUnavailable`` and ``BrokerRefused``; with ``sync=True`` what
    the task raises.
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
    """Send one task for each item of ``calls``, in as few round trips as possible; returns their ids, in order.

    An item is a tuple or list of positional arguments, or a single argument. Keyword arguments and options are those
    of ``async_task``, and apply to all tasks. Raises what ``async_task`` raises.
    """
    arguments = [tuple(item) if isinstance(item, tuple | list) else (item,) for item in calls]
    own, options = split_options(kwargs, func)
    given = with_declared(func, options)
    return send(checked_packages(func, arguments, own, given, build_options(given)), given)


def send(
    packages: Sequence[TaskPackage], given: Mapping[str, Any], *, chain: bool = False, group: GroupPlan | None = None
) -> list[str]:
    """Submit packages with the options ``queue``, ``sync``, ``broker`` and ``on_commit`` of ``given``; returns their
    ids.

    ``chain``: send the first only, with the others as its continuation. ``group``: the plan of the group whose members
    the packages are.
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
    """Log a warning, once per process, if the settings do not name this queue."""
    known = known_queues() if name else []
    if name and name not in known:
        near = closest_match(name, known)
        meant = f" Did you mean {near!r}?" if near else ""
        UNKNOWN_QUEUE.log(queue=name, suggestion=meant)
