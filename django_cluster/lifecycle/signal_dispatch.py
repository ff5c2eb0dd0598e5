"""Telling receivers and hooks, who may fail without harm to anyone else."""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from django_cluster.core.events.tasks import SIGNAL_RECEIVER_FAILED
from django_cluster.core.messages import TaskPackage
from django_cluster.errors import TaskTimeout
from django_cluster.signals import SENDER


def changed_by_receivers(signal: Signal, package: TaskPackage, **facts: Any) -> TaskPackage:
    """Send a signal about a package, and return the package that a receiver has returned instead, or ``package``."""
    changed = [answer for answer in send_signal(signal, task=package, **facts) if isinstance(answer, TaskPackage)]
    return changed[-1] if changed else package


def send_signal(signal: Signal, **facts: Any) -> list[Any]:
    """Send a signal; a receiver that raises is logged, and the others still hear it. Returns what they return.

    One that even exits is logged as well, though then the others do not hear it. What stops a process or a
    task from outside passes through.
    """
    try:
        answers = signal.send_robust(SENDER, **facts)
    except (KeyboardInterrupt, TaskTimeout):
        raise
    except BaseException as error:  # noqa: BLE001  a receiver of the project may even exit
        SIGNAL_RECEIVER_FAILED.log(receiver="(unknown)", error=repr(error), exc_info=True)
        return []
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            SIGNAL_RECEIVER_FAILED.log(receiver=repr(receiver), error=answer, exc_info=answer)
    return [answer for _, answer in answers]
