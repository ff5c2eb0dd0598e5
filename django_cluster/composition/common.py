"""What the compositions share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_cluster.models import Task


def in_order(tasks: Iterable[Task], ids: Sequence[str]) -> list[Task]:
    """Those with these ids, in the order of the ids."""
    known = {task.id: task for task in tasks}
    return [known[task_id] for task_id in ids if task_id in known]


def where(cached: bool | int | None) -> bool | None:
    """Where a reader is to look for what was sent with this option."""
    return None if cached is None else bool(cached)
