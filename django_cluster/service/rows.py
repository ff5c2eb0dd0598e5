"""The rows of finished tasks that the service counts and acts on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.utils import timezone

from django_cluster.client.client import get_client
from django_cluster.core.messages import OutcomeStatus
from django_cluster.models.task import saved_tasks
from django_cluster.models.task_queries import TaskQuerySet
from django_cluster.stores.session import results_session

T = TypeVar("T")
CANCELLED = OutcomeStatus.CANCELLED.value
"""A cancelled task has not failed."""


def database() -> str:
    return str(get_client().results.database)


def read(query: Callable[[], T]) -> T:
    """The answer of the database of the results. Raises ``StoreUnavailable``."""
    return results_session(database()).read(query)


def failed_rows(queue: str | None, *, retried: bool = False) -> TaskQuerySet:
    """Tasks that have failed for good; ``retried``: also those that were retried since."""
    rows = of_queue(
        saved_tasks(database()).filter(success=False, final=True).exclude(status=CANCELLED).order_by(), queue
    )
    return rows if retried else rows.filter(retried_as=None).exclude(attempt_count=0)


def of_queue(rows: TaskQuerySet, queue: str | None) -> TaskQuerySet:
    return rows if queue is None else rows.filter(queue=queue)


def since(rows: TaskQuerySet, hours: float | None) -> TaskQuerySet:
    return rows if hours is None else rows.filter(stopped_at__gte=timezone.now() - timedelta(hours=hours))
