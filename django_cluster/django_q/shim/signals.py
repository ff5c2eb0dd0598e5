"""Django-Q's signals: sent by ``"django_q"``, with a dict for the task.

Each is connected to the signal of this package when it gets its first receiver. Changes of the dict have no effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.dispatch import Signal

from django_cluster import signals
from django_cluster.core.messages import Outcome
from django_cluster.django_q.shim.signing import FinishedTaskDict, package_dict

SENDER = "django_q"


class ForwardedSignal(Signal):
    """A signal of Django-Q, which forwards a signal of this package."""

    def __init__(self, ours: Signal) -> None:
        super().__init__()
        self._ours = ours

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

    def _repeat(self, **facts: Any) -> None:
        told: dict[str, Any] = {name: facts[name] for name in ("func", "proc_name") if name in facts}
        if "task" in facts:
            task = facts["task"]
            told["task"] = FinishedTaskDict(task) if isinstance(task, Outcome) else package_dict(task)
        for _, answer in self.send_robust(SENDER, **told):
            if isinstance(answer, Exception):
                raise answer  # logged by the sender of the original signal


pre_enqueue = ForwardedSignal(signals.pre_enqueue)
post_spawn = ForwardedSignal(signals.post_spawn)
pre_execute = ForwardedSignal(signals.pre_execute)
post_execute_in_worker = ForwardedSignal(signals.post_execute_in_worker)
post_execute = ForwardedSignal(signals.post_execute)
