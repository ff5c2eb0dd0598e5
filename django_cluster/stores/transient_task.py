"""Outcome → a ``Task`` for those who want to look at one that has no row."""

from __future__ import annotations

from collections.abc import Sequence

from django_cluster.core.messages import Outcome
from django_cluster.core.time import from_unix_time, storable_moment
from django_cluster.models import Task
from django_cluster.stores.rows import SUCCESS, Attempt, other_options


def transient_task(outcome: Outcome, attempts: Sequence[Attempt] = ()) -> Task:
    """A ``Task`` that is not in the database, and may be saved there. ``attempts``: the runs before."""
    kind, message, traceback = outcome.failure or ("", "", "")
    return Task(
        id=outcome.id,
        name=outcome.name,
        func=outcome.func,
        hook=outcome.options.get("hook"),
        group=outcome.options.get("group"),
        queue=outcome.queue or outcome.options.get("queue"),
        correlation_id=outcome.options.get("correlation_id"),
        sealed_arguments=outcome.arguments,
        sealed_result=outcome.result,
        status=outcome.status,
        success=outcome.status == SUCCESS,
        final=outcome.final,
        attempt_count=outcome.attempt,
        enqueued_at=from_unix_time(storable_moment(outcome.enqueued_at)),
        started_at=from_unix_time(storable_moment(outcome.started_at)),
        stopped_at=from_unix_time(storable_moment(outcome.stopped_at)),
        worker=outcome.worker,
        error_kind=kind,
        error_message=message,
        error_traceback=traceback,
        attempts=list(attempts) or None,
        options=other_options(outcome.options),
    )
