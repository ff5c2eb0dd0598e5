"""Receivers of ``post_save`` for rows of finished tasks, which are written in bulk, without a signal for each.

Where a receiver is connected to ``Task``, ``Success`` or ``Failure``, it is called after the recording, like receivers
of ``post_execute``. Receivers of every model hear of tasks only where there is one of these: they cost nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models.signals import post_save

from django_cluster.core.events.tasks import RECEIVER_INTERRUPTED
from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import Outcome
from django_cluster.lifecycle.soft_timeout import soft_timeout
from django_cluster.models import Failure, Success, Task

FORWARDER = "django_q:"
"""How the ids of receivers begin that only pass on to a proxy."""

PROXIES: dict[type[Any], list[type[Any]]] = {Task: [], Success: [], Failure: []}
"""Classes of rows of finished tasks → their proxies in other apps, to whose receivers a forwarder passes on."""


def has_row_receivers() -> bool:
    """Whether a receiver is connected to a class of rows of finished tasks."""
    return bool(post_save.receivers) and bool(_classes())


def send_post_save(outcome: Outcome, find_row: Callable[[str], Any], timeout: float) -> None:
    """Send ``post_save`` for the row of an outcome, if it has one; a receiver that fails is logged.

    ``find_row`` reads the row of a task by its id. ``timeout``: seconds for all receivers together.
    """
    report_progress(timeout)
    try:
        with soft_timeout(timeout):
            if (row := find_row(outcome.id)) is None:
                return
            for kind in _classes():
                if kind is Task or row.success is (kind is Success):
                    facts = {"created": outcome.attempt == 1, "raw": False, "using": row._state.db}
                    post_save.send(kind, instance=row, update_fields=None, **facts)
    except BaseException as error:  # noqa: BLE001  a receiver is user code: SystemExit must not end its process
        described = f"{type(error).__name__}: {error}"
        RECEIVER_INTERRUPTED.log(
            task_id=outcome.id,
            task_name=outcome.name,
            correlation_id=outcome.correlation_id,
            error=described,
            exc_info=True,
        )


def _classes() -> list[type[Any]]:
    """The classes that have receivers, those of their proxies included."""
    connected = {sender for (receiver, sender), *_ in post_save.receivers if not _forwards(receiver)}
    return [kind for kind, proxies in PROXIES.items() if connected & {id(kind), *map(id, proxies)}]


def _forwards(receiver: object) -> bool:
    return isinstance(receiver, str) and receiver.startswith(FORWARDER)
