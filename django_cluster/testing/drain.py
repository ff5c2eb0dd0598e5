"""Run the tasks of one queue in the test process; for the tests of the package itself, see ``pending`` for others."""

from __future__ import annotations

from django_cluster.testing.due import MovableClock, refuse_to_leave_delayed
from django_cluster.testing.queues import queues_under_test
from django_cluster.testing.running import QueueRunner

__all__ = ["drain"]


def drain(
    queue: str | None = None,
    *,
    raise_errors: bool = True,
    limit: int = 1000,
    delayed: bool = False,
    retries: bool = False,
) -> list[str]:
    """Run every task that is due in one queue, by default that of the settings; returns their ids in order.

    With ``delayed``, tasks with a ``delay`` or ``eta`` run before their time; with ``retries``, so do later attempts.
    Raises as ``run_pending``, which calls no ``on_commit`` callbacks here.
    """
    place = queues_under_test(queue, act="drain()")[0]
    ids = QueueRunner(
        lambda: [place], MovableClock(delayed=delayed, retries=retries), raise_errors=raise_errors, limit=limit
    ).run()
    if delayed or retries:
        refuse_to_leave_delayed(place.broker)
    return ids
