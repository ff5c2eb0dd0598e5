"""How many results of a group are no longer kept, so that no reader takes what is left for the whole."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F
from django.utils import timezone

from django_cluster.errors import ResultsPruned


class PrunedGroup(models.Model):
    """Counts the rows of one group that retention has deleted.

    Written in the transaction that deletes the rows (``stores.group_retention``), read by everything that answers for
    a group, and deleted with the group or some days after the last deletion.
    """

    name = models.CharField(max_length=100, primary_key=True, editable=False)
    count = models.IntegerField(default=0, editable=False)
    failed = models.IntegerField(default=0, editable=False)
    """How many of them were failures."""
    pruned_at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)

    class Meta:
        app_label = "django_cluster"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def find(cls, using: str, group: str) -> Self | None:
        """What is known of this group in the database ``using``; None while all of its rows are kept."""
        return cls.objects.using(using).filter(pk=group).first()

    @classmethod
    def add(cls, using: str, group: str, *, count: int, failed: int) -> None:
        """Count deleted rows, ``failed`` of them failures; call it in the transaction that deletes them."""
        rows, now = cls.objects.using(using), timezone.now()
        changes = {"count": F("count") + count, "failed": F("failed") + failed, "pruned_at": now}
        # Not update_or_create, which reads first: two clusters may prune one group at the same moment.
        _, created = rows.get_or_create(pk=group, defaults={"count": count, "failed": failed, "pruned_at": now})
        if not created:
            rows.filter(pk=group).update(**changes)


def ensure_whole(using: str, group: str, *, failures: bool) -> None:
    """Return if no result of this group has been pruned; without ``failures``, no success.

    Raises ``ResultsPruned``, which says how many are gone.
    """
    pruned = PrunedGroup.find(using, group)
    gone = 0 if pruned is None else pruned.count if failures else pruned.count - pruned.failed
    if gone > 0:
        raise ResultsPruned(
            f"{gone} results of the group {group!r} are no longer kept (settings save_limit and retention_days);"
            " what is left can be read as Task.objects.filter(group=...)."
        )
