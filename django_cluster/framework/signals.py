"""The framework's signals. A receiver that fails is logged, and neither harms the task nor the worker."""

from __future__ import annotations

from typing import Any
from weakref import ReferenceType

from django_cluster.core.events.tasks import SIGNAL_RECEIVER_FAILED
from django_cluster.errors import TaskCancelled, TaskTimeout
from django_cluster.framework.compat import backend_of, framework_signals


def is_heard(name: str) -> bool:
    """Whether anything listens to this signal beside the framework itself, which writes log records."""
    signals = framework_signals()
    for _, receiver, *_ in getattr(signals, name).receivers:
        function = receiver() if isinstance(receiver, ReferenceType) else receiver
        if function is not None and getattr(function, "__module__", "") != signals.__name__:
            return True
    return False


def announce(name: str, result: Any) -> None:
    """Send ``task_enqueued``, ``task_started`` or ``task_finished``; the sender is the class of the backend."""
    try:
        sender = type(backend_of(result.backend))
        answers = getattr(framework_signals(), name).send_robust(sender, task_result=result)
    except (KeyboardInterrupt, TaskTimeout, TaskCancelled):
        raise
    except BaseException as error:  # noqa: BLE001  TASKS has lost the alias, or a receiver even exits
        SIGNAL_RECEIVER_FAILED.log(receiver=name, error=error, exc_info=True)
        return
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            SIGNAL_RECEIVER_FAILED.log(receiver=repr(receiver), error=answer, exc_info=answer)
