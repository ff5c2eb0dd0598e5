"""Django-Q's signals: sent by ``"django_q"``, with a dict for the task.

Each is connected to the signal of this package when it gets its first receiver. What receivers of ``pre_enqueue`` write
into the dict is sent with the task, and is in the dict of every later signal. The id and the queue of a task cannot be
changed there. What receivers of ``pre_execute`` write is what the function is called with, and is seen by those of
``post_execute_in_worker``; the row of the task keeps what was sent, and what the function has returned.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.dispatch import Signal

from django_cluster import signals
from django_cluster.core.events.tasks import HOOK_FAILED, SIGNAL_RECEIVER_FAILED
from django_cluster.core.import_paths import load
from django_cluster.core.messages import Outcome, TaskPackage
from django_cluster.django_q.shim.task_dicts import failure_text, outcome_dict, package_dict, package_of
from django_cluster.errors import UnknownFunction

SENDER = "django_q"
WORKER = "worker "
"""Beginning of the name of each worker: Django-Q sends ``post_spawn`` in no other process."""


class ForwardedSignal(Signal):
    """A signal of Django-Q, which forwards a signal of this package."""

    def __init__(self, ours: Signal, forward: Callable[..., Any]) -> None:
        """``forward`` is called with this signal and the facts of ours; its answer is the answer to ours."""
        super().__init__()
        self._ours = ours
        self._forward = forward

    def connect(
        self, receiver: Callable[..., Any], sender: object = None, weak: bool = True, dispatch_uid: Any = None
    ) -> None:
        # There it is always the same sender; a text is compared by identity, which two modules need not share.
        if sender not in (None, SENDER, signals.SENDER):
            return
        super().connect(receiver, None, weak, dispatch_uid)
        self._ours.connect(self._repeat, weak=False, dispatch_uid=f"django_q:{id(self)}")

    def disconnect(self, receiver: Any = None, sender: Any = None, dispatch_uid: Any = None) -> bool:
        found = bool(super().disconnect(receiver, None, dispatch_uid))
        if not self.receivers:
            self._ours.disconnect(dispatch_uid=f"django_q:{id(self)}")
        return found

    def _repeat(self, sender: object = None, signal: object = None, **facts: Any) -> Any:
        return self._forward(self, **facts)

    def tell(self, **told: Any) -> None:
        """Send this signal. A receiver that raises is logged, and the others still hear it."""
        for receiver, answer in self.send_robust(SENDER, **told):
            if isinstance(answer, Exception):
                SIGNAL_RECEIVER_FAILED.log(receiver=repr(receiver), error=answer, exc_info=answer)


_running: dict[str, dict[str, Any]] = {}
"""The dicts of the tasks that run in this process: receivers before and after the run get the same."""


def _before_sending(signal: ForwardedSignal, task: TaskPackage) -> TaskPackage:
    told = package_dict(task)
    signal.tell(task=told)
    return package_of(told, task)


def _in_new_process(signal: ForwardedSignal, proc_name: str) -> None:
    if proc_name.startswith(WORKER):
        signal.tell(proc_name=proc_name)


def _before_run(signal: ForwardedSignal, func: Any, task: TaskPackage) -> TaskPackage:
    told = package_dict(task)
    told.pop("timeout", None)
    if post_execute_in_worker.receivers:
        _running[task.id] = told
    signal.tell(func=func, task=told)
    return replace(task, args=tuple(told["args"]), kwargs=told["kwargs"])


def _after_run(signal: ForwardedSignal, func: Any, task: TaskPackage, result: Any, error: BaseException | None) -> None:
    told = _running.pop(task.id, None) or package_dict(task)
    told["success"] = error is None
    told["stopped"] = datetime.now(UTC)
    told["result"] = result if error is None else failure_text(str(error), "".join(traceback.format_exception(error)))
    signal.tell(func=func, task=told)


def _after_saving(signal: ForwardedSignal, task: Outcome) -> None:
    signal.tell(task=outcome_dict(task))


pre_enqueue = ForwardedSignal(signals.pre_enqueue, _before_sending)
post_spawn = ForwardedSignal(signals.post_spawn, _in_new_process)
pre_execute = ForwardedSignal(signals.pre_execute, _before_run)
post_execute_in_worker = ForwardedSignal(signals.post_execute_in_worker, _after_run)
post_execute = ForwardedSignal(signals.post_execute, _after_saving)


def call_hook(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Call the hook of a task, if it has one, with its row. A hook that fails is logged.

    In Django-Q the receiver of ``post_save`` of ``Task``; here a cluster calls hooks itself.
    """
    hook = instance.hook
    if not hook:
        return
    try:
        (hook if callable(hook) else load(hook))(instance)
    except (UnknownFunction, Exception) as error:  # noqa: BLE001  a hook is user code
        HOOK_FAILED.log(
            hook=str(hook),
            task_id=instance.id,
            task_name=instance.name,
            correlation_id=instance.correlation_id,
            error=error,
            exc_info=error,
        )
