"""Telling receivers and hooks, who may fail without harm to anyone else."""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

from django_cluster.signals import SENDER

logger = logging.getLogger("django_cluster")


def announce(signal: Signal, **facts: Any) -> None:
    """Send a signal; a receiver that raises is logged, and the others still hear it."""
    for receiver, answer in signal.send_robust(SENDER, **facts):
        if isinstance(answer, Exception):
            logger.error("The signal receiver %r failed.", receiver, exc_info=answer)
