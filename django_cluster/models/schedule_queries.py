"""Rows of schedules: those that a scheduler asks for, and what is written into many at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import models, transaction
from django.db.models.functions import Cast, Coalesce, Concat
from django.utils import timezone

from django_cluster.core.batching import batches
from django_cluster.models.aliases import AliasQuerySet, by_field
from django_cluster.models.row_signing import secrets
from django_cluster.models.schedule_planning import RULE
from django_cluster.models.schedule_seal import SEALED, is_sealed, seal_of

if TYPE_CHECKING:
    from django_cluster.models.schedule import Schedule

BATCH_ROWS = 500
"""Rows in one statement: few enough parameters for every database."""

MAX_CLAIM = timedelta(minutes=10)
"""The longest time for which a cluster holds a row: beyond it the clock was set back, and the row is free."""


class ScheduleQuerySet(AliasQuerySet["Schedule"]):
    """The question that a scheduler asks."""

    def bulk_create(self, objs: Iterable[Schedule], *args: Any, **kwargs: Any) -> list[Schedule]:
        """Create the rows, with the first run of each planned as by ``save``: without it, it would never be due."""
        rows = list(objs)
        for row in rows:
            row.plan_next_run()
        return super().bulk_create(rows, *args, **kwargs)

    def update(self, **values: Any) -> int:
        """Update the rows; where the columns that say when are changed, so is the next run, unless it is given as well.

        So it is with ``bulk_update``. An expression that was there before leaves the next run alone. Rows whose seal
        was valid get one for what they call now.
        """
        values = by_field(self.model, values)
        if not set(SEALED) & values.keys() or "seal" in values:
            return self._update_and_revise(values)
        self._for_write = True
        columns = ("pk", "seal", *SEALED)
        with transaction.atomic(using=self.db):
            sound = [row.pk for row in self.order_by().only(*columns) if is_sealed(row)]
            count = self._update_and_revise(values)
            rows = ScheduleQuerySet(self.model, using=self.db)
            for batch in batches(sound, most=BATCH_ROWS):
                for row in rows.filter(pk__in=batch).only(*columns):
                    rows.filter(pk=row.pk).update(seal=seal_of(row))
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def renew_seals(self) -> int:
        """Seal with the present key what has a seal of an older one; how many rows there were."""
        if not secrets()[1]:
            return 0
        old = [row for row in self if is_sealed(row) and not is_sealed(row, lately=True)]
        for row in old:
            self.filter(pk=row.pk, seal=row.seal).update(seal=seal_of(row))
        return len(old)

    def _update_and_revise(self, values: dict[str, Any]) -> int:
        if not RULE & values.keys() or "planned_from" in values:
            return super().update(**values)
        self._for_write = True
        with transaction.atomic(using=self.db):
            keys = list(self.order_by().values_list("pk", flat=True))
            count = super().update(**values)
            for batch in batches(keys, most=BATCH_ROWS):
                self._revise(batch, goes_on="ends_at" in values, given="next_run" in values)
        return count

    def _revise(self, keys: Collection[Any], *, goes_on: bool, given: bool) -> None:
        """Bring the next runs up to date. ``goes_on``: also of those that have ended. ``given``: they were written.

        What makes no sense is left as it is: a scheduler will say so.
        """
        now = timezone.now()
        rows = ScheduleQuerySet(self.model, using=self.db)
        for row in rows.filter(pk__in=keys):
            if goes_on and row.next_run is None and row.repeats:
                row.local_next_run = ""
            try:
                if (plan := row.revise(now)) is not None:
                    rows.filter(pk=row.pk).update(**asdict(plan), claimed_until=None, last_error="")
            except (ValueError, ImportError, OverflowError):
                if given:  # it belongs to a rule that makes no sense, and ends with that
                    rows.filter(pk=row.pk).update(local_next_run=row.local_text_of_next_run())

    def runnable(self, queue: str, *, is_default: bool, now: datetime, declared: Collection[str] = ()) -> Self:
        """What belongs to this queue, may become due, and is not held, the longest waiting first.

        ``is_default``: whether this is the default queue, to which the schedules without a cluster belong.
        ``declared``: the keys of the declarations that this program knows; of the others it knows nothing, and
        leaves them to those who do.
        """
        known = models.Q(declared__isnull=True)
        if declared:
            known |= models.Q(declared__in=declared)
        mine = models.Q(queue=queue)
        if is_default:
            mine |= models.Q(queue__isnull=True) | models.Q(queue="")
        free = models.Q(claimed_until__isnull=True) | models.Q(claimed_until__lte=now)
        free |= models.Q(claimed_until__gt=now + MAX_CLAIM)
        return self.filter(mine, free, known, enabled=True).exclude(repeats=0).order_by("next_run", "pk")

    def with_stale_plans(self) -> Self:
        """Rows that were never planned, or whose rule was changed past the model: by SQL, or in a migration."""
        parts: list[Any] = ["schedule_type", _text("minutes"), _text("cron"), _text("time_zone")]
        for place in (3, 2, 1):
            parts.insert(place, models.Value("|"))
        never = models.Q(next_run__isnull=True, local_next_run="")
        return self.filter(never | ~models.Q(planned_from=Concat(*parts, output_field=models.CharField())))


def _text(column: str) -> Coalesce:
    return Coalesce(Cast(column, models.CharField()), models.Value(""))
