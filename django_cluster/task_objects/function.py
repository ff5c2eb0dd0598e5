"""The object that ``@task`` makes of a function: called it runs here, ``delay`` has it run by the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from asgiref.sync import sync_to_async

from django_cluster.client.enqueue import send
from django_cluster.control import pause_task, resume_task
from django_cluster.core.call_options import given_options
from django_cluster.core.option_synonyms import as_seconds, understood
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import checked_packages
from django_cluster.core.task_callable import P, R_co, TaskCallable
from django_cluster.task_objects.handle import TaskHandle
from django_cluster.tasks import schedule

if TYPE_CHECKING:
    from django_cluster.models import Schedule

OF_A_CALL = frozenset({"chain", "iter_cached", "iter_count"})
"""Options that belong to ``async_task`` and ``async_iter``."""
OF_ONE_TASK = OF_A_CALL | {"correlation_id", "eta", "sync", "task_name"}
"""Options that would be the same for all tasks of a function, and mean one of them."""
START_TIMES = frozenset({"delay", "eta"})
"""Options of which the one that is given last says when the task may run."""


class TaskFunction(TaskCallable[P, R_co]):
    """A function whose calls can be sent to the cluster. It is typed by the signature of the function.

    ``send_welcome(42)`` calls the function here and now. ``send_welcome.delay(42)`` has the cluster call it, and
    returns a ``TaskHandle``.
    """

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R_co]:
        """Have the cluster call the function with these arguments; returns the handle of the task.

        Every keyword is the function's own; options of the task are given with ``using``. Raises ``TypeError`` for
        arguments that the function does not take, ``NotSerializable``, ``BrokerUnavailable``, ``BrokerRefused``.
        """
        return self._send([args], kwargs)[0]

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R_co]:
        """``delay`` for async code: the event loop goes on while the message is sent."""
        return (await sync_to_async(self._send)([args], kwargs))[0]

    enqueue = send = dispatch = delay
    """Other task queues' words for ``delay``: Django's framework, Dramatiq, AsyncTasQ."""
    aenqueue = adelay

    def send_with_options(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        delay: float | timedelta | None = None,
        **options: Any,
    ) -> TaskHandle[R_co]:
        """``using(...).delay(*args, **kwargs)`` under Dramatiq's name. ``delay`` is in **milliseconds**, as there."""
        if delay is not None:
            options["delay"] = as_seconds(delay)
        return self.using(**options)._send([tuple(args)], kwargs or {})[0]

    def bulk(self, calls: Iterable[Any]) -> list[TaskHandle[R_co]]:
        """One task for each item, in as few round trips as possible: a tuple of arguments, or a single argument."""
        return self._send([tuple(item) if isinstance(item, tuple | list) else (item,) for item in calls], {})

    async def abulk(self, calls: Iterable[Any]) -> list[TaskHandle[R_co]]:
        """``bulk`` for async code."""
        return await sync_to_async(self.bulk)(calls)

    def using(self, **options: Any) -> Self:
        """A copy of this object whose tasks have these options; they go before those of ``@task``.

        Those of ``@task``, and ``delay`` (seconds) or ``eta`` (a datetime). Raises ``TypeError`` for an option that
        does not exist, ``ValueError`` for a value that it cannot have.
        """
        changed = checked_options(options, OF_A_CALL)
        replaced = START_TIMES if START_TIMES & changed.keys() else frozenset[str]()
        kept = {name: value for name, value in self.options.items() if name not in replaced}
        return self.with_options({**kept, **changed})

    def schedule(self, *args: Any, **keywords: Any) -> Schedule:
        """Have the cluster call the function again and again: ``django_cluster.schedule`` for this function.

        The options of ``@task`` are read at each run; those of ``using`` are kept in the schedule, and those in
        ``q_options`` go before them. Raises as ``django_cluster.schedule``.
        """
        declared = self.origin.options
        kept = {name: value for name, value in self.options.items() if declared.get(name) != value}
        options = {**kept, **(keywords.pop("q_options", None) or {})}
        return schedule(self.origin, *args, **keywords, **({"q_options": options} if options else {}))

    def pause(self, *, by: str = "", until: datetime | timedelta | float | None = None) -> bool:
        """Stop all clusters from running this function; returns False if it was paused already.

        Its tasks wait, and cost no attempt; other tasks pass them. ``by``: who does it, for those who see the pause.
        ``until``: when it ends by itself: a datetime, a Unix time, or a timedelta from now; None: with ``resume``. See
        ``django_cluster.control.pause_task``.
        """
        return pause_task(self.origin, by=by, until=until)

    def resume(self) -> bool:
        """End ``pause``; returns whether the function was paused."""
        return resume_task(self.origin)

    def _send(self, calls: list[tuple[Any, ...]], kwargs: Mapping[str, Any]) -> list[TaskHandle[R_co]]:
        given = dict(self.options)
        packages = checked_packages(self, calls, kwargs, given, build_options(given))
        send(packages, given)
        return [TaskHandle.of(package.header) for package in packages]


def checked_options(options: Mapping[str, Any], refused: frozenset[str] = OF_ONE_TASK) -> dict[str, Any]:
    """Options of ``@task``, or with ``refused=OF_A_CALL`` of ``using``, by the names that ``q_options`` has.

    Raises ``TypeError`` for an option that does not exist or makes no sense here, ``ValueError`` for a value that it
    cannot have.
    """
    found = given_options(understood(options))
    if wrong := sorted(refused & found.keys()):
        raise TypeError(f"{', '.join(map(repr, wrong))} belongs to one call, not to a task object.")
    if refused is OF_ONE_TASK and isinstance(found.get("expires"), datetime):
        raise TypeError("The option 'expires' of a task object is a duration: a moment belongs to one call.")
    build_options(found)
    return found
