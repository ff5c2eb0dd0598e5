"""Which groups are still needed whole, and the deletion of rows in such a way that what is gone stays known.

A caller reads a group when its last task has ended: half a group would be a wrong sum. So a success that belongs to a
group is not pruned by number while the group is at work, while what follows it has not ended, or for an hour after its
last task has. Afterwards its rows go together, and a ``PrunedGroup`` remembers how many they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from django_cluster.core.compositions import FAILURE_POSITION, SUCCESS_POSITION
from django_cluster.database.session import Session
from django_cluster.models import GroupMember, PrunedGroup, TaskGroup
from django_cluster.models.task import saved_tasks

MIN_GROUP_RETENTION = timedelta(hours=1)
"""For which the results of a group are kept after its last task has ended, whatever ``save_limit`` says."""
ABANDONED_AFTER = timedelta(days=30)
"""Age of a group that has never ended, from which its results are pruned as if it had."""
REMEMBER_PRUNED_FOR = timedelta(days=30)
"""For which it is known that a group was pruned."""


def needed(database: str, since: datetime | None = None) -> Q:
    """Rows of ``Task`` whose group is at work, or had a task that ended in the last hour, or after ``since``."""
    start = timezone.now() - MIN_GROUP_RETENTION
    if since is not None:
        start = min(start, since)
    others = saved_tasks(database).filter(group=OuterRef("group"), stopped_at__gte=start)
    recent = others.filter(success__in=[True, False]).order_by()  # both: it names the columns of the index
    return Q(group__isnull=False) & (Q(stopped_at__gte=start) | Exists(recent) | at_work(database))


def at_work(database: str) -> Exists:
    """Whether the group of a row of ``Task`` waits for tasks, or for the end of what follows it."""
    groups = TaskGroup.objects.using(database).filter(pk=OuterRef("group"))
    ended = GroupMember.objects.using(database).filter(of=OuterRef("pk"))
    unfinished = Q(done__lt=F("total"))
    success = ~Q(on_success="") & ~Exists(ended.filter(position=SUCCESS_POSITION))
    failure = ~Q(on_failure="") & Q(failure_sent=True) & ~Exists(ended.filter(position=FAILURE_POSITION))
    young = groups.filter(created_at__gte=timezone.now() - ABANDONED_AFTER).order_by()
    return Exists(young.filter(unfinished | success | failure))


def delete_rows(session: Session, ids: Sequence[str], *, retry_seconds: float = 0.0) -> int:
    """Delete these rows of ``Task``, and note for each group what it has lost; how many there were.

    Raises ``StoreUnavailable``.
    """
    return session.run(lambda: _delete_rows(session.alias, ids), retry_seconds) if ids else 0


def _delete_rows(database: str, ids: Sequence[str]) -> int:
    """Group by group in the order of their names, so that two clusters cannot wait for each other."""
    rows = saved_tasks(database).filter(pk__in=ids).order_by()
    count = 0
    for group, success in sorted(rows.filter(group__isnull=False).values_list("group", "success").distinct()):
        gone = rows.filter(group=group, success=success).delete()[0]
        if gone and group is not None:
            PrunedGroup.add(database, group, count=gone, failed=0 if success else gone)
        count += gone
    return count + rows.filter(group__isnull=True).delete()[0]


def forget_old(database: str) -> None:
    """Forget which groups were pruned long ago."""
    PrunedGroup.objects.using(database).filter(pruned_at__lt=timezone.now() - REMEMBER_PRUNED_FOR).delete()
