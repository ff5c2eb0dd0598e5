"""Find the finished tasks of chains, groups and iters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_cluster.client.client import get_client
from django_cluster.models import Task

MAX_RETRIES_FOLLOWED = 100
"""How often a task is followed that was run again and again."""


def in_order(tasks: Iterable[Task], ids: Sequence[str]) -> list[Task | None]:
    """Return for each id its task, or None; if the task was retried, the newest run."""
    known = {task.id: task for task in tasks}
    found = {task_id: known.get(task_id) for task_id in ids}
    if len(known) > sum(task is not None for task in found.values()):  # others are there: perhaps in place of ours
        place = {task_id: task_id for task_id, task in found.items() if task is None}
        for _ in range(MAX_RETRIES_FOLLOWED):
            newer = get_client().results.rows.retried(list(place)) if place else {}
            place = {new: place[old] for old, new in newer.items()}
            found |= {mine: known[new] for new, mine in place.items() if new in known}
            if not place:
                break
    return [found[task_id] for task_id in ids]


def lookup_place(cached: bool | int | None) -> bool | None:
    """Return where a result that was sent with this option ``cached`` is: True = cache, None = anywhere."""
    return None if cached is None else bool(cached)
