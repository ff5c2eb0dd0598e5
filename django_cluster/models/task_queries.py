"""The questions that callers ask about the rows of finished tasks."""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from django.db import models

from django_cluster.models.aliases import AliasQuerySet
from django_cluster.models.pruned_group import PrunedGroup
from django_cluster.models.task_values import OPENED, SOURCES, by_opening, opening

if TYPE_CHECKING:
    from django_cluster.models.task import Task

ENDED_WELL, ENDED_BADLY = models.Q(success__in=[True]), models.Q(success__in=[False])
"""Not ``success=True``: Django 5.2 writes that as ``WHERE success``, for which SQLite uses no index."""

_LOOKS_LIKE_AN_ID = re.compile(r"[0-9a-f]{32}").fullmatch


class TaskQuerySet(AliasQuerySet["Task"]):
    """The questions that callers ask about finished tasks."""

    def bulk_create(self, objs: Iterable[Task], *args: Any, **kwargs: Any) -> list[Task]:
        """Create the rows; what Django-Q's columns say is enough for each."""
        rows = list(objs)
        for row in rows:
            row.complete()
        return super().bulk_create(rows, *args, **kwargs)

    def values(self, *fields: Any, **expressions: Any) -> Any:
        """Arguments and results are opened, row by row."""
        if not set(OPENED).intersection(each for each in fields if isinstance(each, str)):
            return super().values(*fields, **expressions)
        names = [*fields, *expressions]
        return self._opening(fields, expressions, names, lambda values: dict(zip(names, values, strict=True)))

    def values_list(self, *fields: Any, flat: bool = False, named: bool = False) -> Any:
        """Arguments and results are opened, row by row."""
        if not set(OPENED).intersection(each for each in fields if isinstance(each, str)):
            return super().values_list(*fields, flat=flat, named=named)
        if flat and len(fields) > 1:
            raise TypeError("'flat' is not valid when values_list is called with more than one field.")
        make_type: Any = namedtuple
        row: Any = make_type("Row", fields)._make if named else tuple
        return self._opening(fields, {}, fields, (lambda values: values[0]) if flat else row)

    def _opening(self, fields: Any, expressions: Any, names: Any, shape: Any) -> Any:
        columns = dict.fromkeys([*(name for name in fields if name not in OPENED), *SOURCES])
        rows: Any = super().values(*columns, **expressions)
        rows._iterable_class = opening(names, shape, self._concrete)
        return rows

    def _filter_or_exclude(self, negate: bool, args: Any, kwargs: Any) -> Self:
        named = [name for name in kwargs if name.partition("__")[0] in OPENED]
        if named or any(isinstance(each, models.Q) and _names_opened(each) for each in args):
            rows = TaskQuerySet._filter_or_exclude(self, False, (), {k: v for k, v in kwargs.items() if k not in named})
            every = [each if isinstance(each, models.Q) else models.Q(each) for each in args]
            args = (by_opening(self if negate else rows, models.Q(*every, **kwargs)),)
            kwargs = {}
        found: Self = super()._filter_or_exclude(negate, args, kwargs)  # type: ignore[misc]  # Django's own
        return found

    def find(self, id_or_name: str) -> Task | None:
        """The task of this id, or else the newest of this name; names may repeat."""
        if _LOOKS_LIKE_AN_ID(id_or_name):
            task = self.filter(pk=id_or_name).first()
            if task is not None:
                return task
        named = self.filter(name=id_or_name).order_by("-stopped_at")
        newest = [task for each in (ENDED_WELL, ENDED_BADLY) if (task := named.filter(each).first()) is not None]
        return max(newest, key=lambda task: task.stopped_at, default=None)  # two ends of an index, and no sorting

    def in_group(self, group_id: str, *, failures: bool) -> TaskQuerySet:
        """The tasks of a group, newest first; without ``failures`` only those that succeeded."""
        tasks = self.filter(group=group_id)
        if failures:
            return tasks.exclude(self._replaced())
        return tasks.filter(ENDED_WELL).exclude(self._replaced(success__in=[True]))

    def count_group(self, group_id: str, *, failures: bool) -> int:
        """How many of a group have ended, or with ``failures`` how many of them failed; pruned ones included.

        A failure that was run again counts once, as its newest run. A success that an operator has run again counts
        as two: to look for those would cost a look at every row, where an index counts.
        """
        tasks = self.filter(group=group_id)
        replaced = tasks.filter(ENDED_BADLY, self._replaced()).count()
        pruned = PrunedGroup.find(self.db, group_id)
        gone = 0 if pruned is None else pruned.failed if failures else pruned.count
        return (tasks.filter(ENDED_BADLY) if failures else tasks).count() - replaced + gone

    @property
    def _concrete(self) -> type[Task]:
        """The model of the table, also for a queryset of a proxy."""
        found: Any = self.model._meta.concrete_model
        return found  # type: ignore[no-any-return]

    def _replaced(self, **how: Any) -> models.Q:
        """Rows of tasks that were run again, and have a newer row: a group has each of its tasks once."""
        newer = TaskQuerySet(self._concrete, using=self.db).filter(pk=models.OuterRef("retried_as"), **how).order_by()
        return models.Q(retried_as__isnull=False) & models.Q(models.Exists(newer))

    def correlated(self, correlation_id: str) -> TaskQuerySet:
        """The tasks of this correlation id, also the first of them, whose own id it may be."""
        return self.filter(models.Q(correlation_id=correlation_id) | models.Q(pk=correlation_id))

    def forget_group(self, group_id: str, *, tasks: bool) -> int:
        """Take the label off the tasks of a group, or delete them too; returns how many there were."""
        members = self.filter(group=group_id)
        PrunedGroup.objects.using(self.db).filter(pk=group_id).delete()
        if not tasks:
            return members.update(group=None)
        count = members.count()
        members.delete()
        return count


def _names_opened(condition: models.Q) -> bool:
    """Whether a condition is on arguments or results."""
    return any(
        _names_opened(each)
        if isinstance(each, models.Q)
        else isinstance(each, tuple) and each[0].partition("__")[0] in OPENED
        for each in condition.children
    )
