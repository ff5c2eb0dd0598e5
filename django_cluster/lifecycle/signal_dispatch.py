"""Telling receivers and hooks, who may fail without harm to anyone else."""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

from django_cluster.errors import TaskTimeout
from django_cluster.signals import SENDER

logger = logging.getLogger("django_cluster")


def send_signal(signal: Signal, **facts: Any) -> None:
    """Send a signal; a receiver that raises is logged, and the others still hear it.

    One that even exits is logged as well, though then the others do not hear it. What stops a process or a
    task from outside passes through.
    """
    try:
        answers = signal.send_robust(SENDER, **facts)
    except (KeyboardInterrupt, TaskTimeout):
        raise
    except BaseException:
        logger.exception("A signal receiver failed.")
        return
    for receiver, answer in answers:
        if isinstance(answer, Exception):
            logger.error("The signal receiver %r failed.", receiver, exc_info=answer)
