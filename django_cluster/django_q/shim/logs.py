"""Logs of a cluster for those who have configured the logger of Django-Q.

Django-Q logs to ``django-q``. Where this package replaces it, that logger becomes the parent of ours: its handlers get
all records, and its level is ours unless ``django_cluster`` has one of its own.
"""

from __future__ import annotations

import logging

from django_cluster.core.events.cluster import (
    CLUSTER_RUNNING,
    CLUSTER_STARTING,
    CLUSTER_STOPPED,
    CLUSTER_STOPPING,
    Q_CLUSTER_RUNNING,
    Q_CLUSTER_STARTING,
    Q_CLUSTER_STOPPED,
    Q_CLUSTER_STOPPING,
)
from django_cluster.core.events.event import LOGGER
from django_cluster.core.task_ids import task_name

NAME = "django-q"


class DjangoQLines(logging.Filter):
    """Logs the line of Django-Q before each record of which Django-Q has a line that scripts wait for."""

    def __init__(self) -> None:
        super().__init__()
        self._cluster_name = self._queues = ""

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "event", "")
        if event == CLUSTER_STARTING.key:
            self._cluster_name = task_name(vars(record)["cluster_id"].replace("-", ""))
            self._queues = vars(record)["queues"]
            Q_CLUSTER_STARTING.log(cluster_name=self._cluster_name)
        elif event == CLUSTER_RUNNING.key:
            Q_CLUSTER_RUNNING.log(cluster_name=self._cluster_name, queues=self._queues)
        elif event == CLUSTER_STOPPING.key:
            Q_CLUSTER_STOPPING.log(cluster_name=self._cluster_name)
        elif event == CLUSTER_STOPPED.key:
            Q_CLUSTER_STOPPED.log(cluster_name=self._cluster_name)
        return True


def speak_as_django_q() -> None:
    """Let the logger of Django-Q hear our records, and log its lines of start and stop. Can be repeated."""
    LOGGER.parent = logging.getLogger(NAME)
    LOGGER.setLevel(LOGGER.level)  # so that levels which it has remembered are calculated again
    if not any(isinstance(each, DjangoQLines) for each in LOGGER.filters):
        LOGGER.addFilter(DjangoQLines())
