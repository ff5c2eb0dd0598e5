"""The rows of ``takeover``: copied between Django-Q's tables and ours by the models that migrations see."""

from __future__ import annotations

import pickle
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from django.core.management.color import no_style
from django.db import connections, models

from django_cluster import models as ours
from django_cluster.conf import load_settings
from django_cluster.core.batching import batches as portions
from django_cluster.core.signing import ValueSigner
from django_cluster.django_q.importer.results import ResultImporter
from django_cluster.django_q.importer.schedules import COPIED_COLUMNS, identity, with_options_separated
from django_cluster.django_q.importer.source import SourceRow, SourceSchedule, SourceTask, batches
from django_cluster.errors import PackageError
from django_cluster.importing.report import ImportReport

ID_BATCH = 500
"""Ids in one query."""
TAKEN = (
    "The schedule {id} of Django-Q ({name}) cannot keep its id, to which foreign keys of this project point:"
    " django_cluster has another schedule of this id ({other}). Delete one of the two, and migrate again."
)

References = Sequence[tuple[type[models.Model], Any]]
"""Models and their foreign keys."""


class Rows:
    """Copies rows in one database. ``apps``: with the models of ``django_cluster``. ``kept``: whether Django-Q's tables
    are, so that ``qimport`` may read them again."""

    def __init__(self, alias: str, apps: Any, *, kept: bool) -> None:
        self._alias, self._kept = alias, kept
        self._schedule = apps.get_model("django_cluster", "Schedule")
        self._task = apps.get_model("django_cluster", "Task")

    # ── forwards ─────────────────────────────────────────────────────────────────────────────────

    def copy_schedules(self, *, referenced: bool) -> None:
        """Copy all schedules with their ids.

        ``referenced``: whether foreign keys need the ids; without them a schedule whose id is taken gets another one.
        Raises ``ValueError`` for one that cannot keep its id.
        """
        here = {row.pk: row for row in self._rows(self._schedule)}
        known = Counter(identity(_values(row)) for row in here.values())
        for found in batches(SourceSchedule, self._alias):
            for row in map(with_options_separated, found):
                there = here.get(row["id"])
                if there is not None and identity(_values(there)) == identity(row):
                    continue  # this migration was interrupted
                if not referenced and known[identity(row)]:
                    known[identity(row)] -= 1  # qimport has copied it
                    continue
                if there is not None and referenced:
                    raise ValueError(TAKEN.format(id=row["id"], name=row["name"] or row["func"], other=there.func))
                self._new_schedule(row, keep_id=there is None)
        self._reset_sequence(self._schedule)

    def _new_schedule(self, row: SourceRow, *, keep_id: bool) -> None:
        columns = {name: row[name] for name in COPIED_COLUMNS if name in row}
        schedule = self._schedule(id=row["id"] if keep_id else None, queue=columns.pop("cluster", None), **columns)
        if self._kept and schedule.schedule_type == "O" and schedule.repeats < 0:
            schedule.repeats = 1  # else it is deleted after its run, and a later qimport takes it over again
        # A row that makes no sense is suspended by the scheduler, with the reason.
        with suppress(ValueError, ImportError, OverflowError):
            schedule.plan_next_run()
        schedule.next_run = row["next_run"]
        schedule.save(using=self._alias, force_insert=True)

    def copy_results(self, references: References) -> None:
        """Copy the results to which foreign keys point; all, if the table is to be dropped."""
        wanted = set(self._referenced(references)) if self._kept else None
        signing = load_settings().signing
        forbidden = signing.serializer == "json"
        seal = ValueSigner(signing.secret, signing.fallbacks, signing.serializer)
        importer = ResultImporter(
            seal, source=self._alias, database=self._alias, trusted=False, dry_run=False, forbidden=forbidden
        )
        for found in batches(SourceTask, self._alias) if wanted is None or wanted else ():
            rows = [row for row in found if wanted is None or row["id"] in wanted]
            known = set(self._rows(self._task).filter(pk__in=[row["id"] for row in rows]).values_list("pk", flat=True))
            tasks = [importer.task(row, ImportReport("Results")) for row in rows if row["id"] not in known]
            self._rows(self._task).bulk_create([_same_row(self._task, task) for task in tasks])

    # ── backwards ────────────────────────────────────────────────────────────────────────────────

    def return_schedules(self, theirs: type[Any]) -> None:
        """Let Django-Q's table say what ours says."""
        rows = self._rows(theirs)
        columns = [name for name in COPIED_COLUMNS if name != "cluster"]
        here = {row.pk: row for row in self._rows(self._schedule)}
        for ids in portions(sorted(set(rows.values_list("pk", flat=True)) - here.keys()), most=ID_BATCH):
            rows.filter(pk__in=ids).delete()
        for row in here.values():
            values = {name: getattr(row, name) for name in columns}
            rows.update_or_create(pk=row.pk, defaults={**values, "cluster": row.queue, "task": row.task})
        self._reset_sequence(theirs)

    def return_results(self, theirs: type[Any], references: References) -> None:
        """Let Django-Q's table have the results to which foreign keys point."""
        rows = self._rows(theirs)
        ids = sorted(set(self._referenced(references)))
        for batch in portions(ids, most=ID_BATCH):
            known = set(rows.filter(pk__in=batch).values_list("pk", flat=True))
            for task in ours.Task.objects.using(self._alias).filter(pk__in=set(batch) - known):
                values = {name: getattr(task, name) for name in ("id", "name", "func", "hook", "group", "success")}
                values |= {"started": task.started, "stopped": task.stopped, "attempt_count": task.attempt_count}
                values |= {name: _pickled(task, name) for name in ("args", "kwargs", "result")}
                rows.create(**values, cluster=task.queue)

    def _referenced(self, references: References) -> Iterable[str]:
        for model, field in references:
            # A foreign key that is not tied yet: its column is all that may be asked for.
            rows = self._rows(model).order_by().exclude(**{f"{field.attname}__isnull": True})
            yield from rows.values_list(field.attname, flat=True).distinct()

    def _rows(self, model: type[models.Model]) -> Any:
        return models.QuerySet(model, using=self._alias)

    def _reset_sequence(self, model: type[models.Model]) -> None:
        connection = connections[self._alias]
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
                cursor.execute(statement)


def _values(row: Any) -> SourceRow:
    """A row of ours as one of Django-Q's."""
    return {**{name: getattr(row, name) for name in COPIED_COLUMNS if name != "cluster"}, "cluster": row.queue}


def _same_row(model: type[Any], task: ours.Task) -> Any:
    return model(**{field.attname: getattr(task, field.attname) for field in model._meta.concrete_fields})


def _pickled(task: ours.Task, name: str) -> str | None:
    """A value as Django-Q's columns hold it; None for what cannot be opened or pickled."""
    try:
        value = getattr(task, name)
        return None if value is None else b64encode(pickle.dumps(value)).decode()
    except (PackageError, pickle.PicklingError, TypeError, AttributeError):
        return None
