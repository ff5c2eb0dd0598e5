"""A standing order: what to call, and when."""
# ruff: noqa: DJ001  None means "not given", as Django-Q's rows say it: filter(cluster=None)

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from keyword import iskeyword
from types import MappingProxyType
from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_cluster.core import recurrence
from django_cluster.core.arguments import args_from_text, kwargs_from_text
from django_cluster.core.dotted import dotted_path
from django_cluster.core.due import CatchUp, Window, first_run
from django_cluster.core.texts import checked, visible
from django_cluster.errors import UnknownFunction
from django_cluster.models.task import Task
from django_cluster.models.timing import Timing, check_zone, type_choices

TIMING = ("schedule_type", "cron", "time_zone", "starts_at", "ends_at", "next_run")


WRITTEN_BY_SCHEDULERS = frozenset(
    {"next_run", "repeats", "task", "runs", "anchor", "busy_since", "held_until", "last_error", "declared_at"}
)
"""Columns that a scheduler changes at any moment. What an instance knows of them may be stale when it is saved."""

LONGEST_HOLD = timedelta(minutes=10)
"""No cluster holds a row for so long: if one seems to, the clock was set back, and nobody holds it."""


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    """The question that a scheduler asks."""

    def bulk_create(self, objs: Iterable[Schedule], *args: Any, **kwargs: Any) -> list[Schedule]:
        """As ever; each row is settled first, as ``save`` does it: without its first run it would never be due."""
        rows = list(objs)
        for row in rows:
            row.settle()
        return super().bulk_create(rows, *args, **kwargs)

    def coming(self, queue: str, *, site: bool, now: datetime, until: datetime, declared: Collection[str] = ()) -> Self:
        """What is due until then and belongs to this queue, the longest waiting first.

        ``site``: whether this is the queue of the site itself, to which the schedules without a cluster belong.
        ``declared``: the keys of the declarations that this program knows; of the others it knows nothing, and
        leaves them to those who do.
        """
        known = models.Q(declared__isnull=True)
        if declared:
            known |= models.Q(declared__in=declared)
        mine = models.Q(cluster=queue)
        if site:
            mine |= models.Q(cluster__isnull=True) | models.Q(cluster="")
        free = models.Q(held_until__isnull=True) | models.Q(held_until__lte=now)
        free |= models.Q(held_until__gt=now + LONGEST_HOLD)
        return (
            self.filter(mine, free, known, enabled=True, next_run__lte=until)
            .exclude(repeats=0)
            .order_by("next_run", "pk")
        )


class Schedule(Timing, models.Model):
    """One row for each standing order.

    ``anchor`` is the occurrence from which all others are counted: it keeps the 31st through February, and 02:30
    through a night without one. It follows ``next_run`` by itself; whoever moves ``next_run`` to another date that
    the rule would have reached as well, and means a new beginning, sets it to None before saving.
    """

    ONCE = recurrence.Once.code
    MINUTES = recurrence.Minutes.code
    HOURLY = recurrence.Hourly.code
    DAILY = recurrence.Daily.code
    WEEKLY = recurrence.Weekly.code
    BIWEEKLY = recurrence.Biweekly.code
    MONTHLY = recurrence.Monthly.code
    BIMONTHLY = recurrence.Bimonthly.code
    QUARTERLY = recurrence.Quarterly.code
    YEARLY = recurrence.Yearly.code
    CRON = recurrence.Cron.code
    TYPE = tuple((kind.code, _(kind.label)) for kind in recurrence.BUILT_IN)

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=100, null=True, blank=True)
    func = models.CharField(_("function"), max_length=256, help_text=_("Dotted path, such as app.tasks.send"))
    hook = models.CharField(
        _("hook"), max_length=256, null=True, blank=True, help_text=_("Dotted path, called with the finished task")
    )
    args = models.TextField(_("arguments"), null=True, blank=True, help_text=_("For example: 1, 2, 'John'"))
    kwargs = models.TextField(_("keyword arguments"), null=True, blank=True, help_text=_("For example: x=1, y='two'"))
    schedule_type = models.CharField(_("type"), max_length=2, choices=type_choices, default=ONCE)
    minutes = models.PositiveIntegerField(
        _("minutes"), null=True, blank=True, help_text=_("Of the type minutes: every so many")
    )
    repeats = models.IntegerField(
        _("repeats"), default=-1, help_text=_("How many more times; -1 = for ever, 0 = no more")
    )
    next_run = models.DateTimeField(_("next run"), null=True, blank=True)
    cron = models.CharField(
        _("cron expression"), max_length=100, null=True, blank=True, help_text=_("Of the type cron: 30 2 * * 1-5")
    )
    task = models.CharField(_("last task"), max_length=100, null=True, editable=False)
    cluster = models.CharField(
        _("queue"), max_length=100, null=True, blank=True, help_text=_("The queue to use; empty = the default one")
    )
    intended_date_kwarg = models.CharField(
        _("name of the date argument"),
        max_length=100,
        null=True,
        blank=True,
        help_text=_("The keyword argument that is given the intended time of the run"),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    catch_up = models.CharField(
        _("missed runs"),
        max_length=4,
        null=True,
        blank=True,
        choices=(
            (CatchUp.ALL.value, _("all are made up for")),
            (CatchUp.ONCE.value, _("one makes up for all")),
            (CatchUp.SKIP.value, _("left out")),
        ),
        help_text=_("Empty = as the settings say"),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        null=True,
        blank=True,
        help_text=_("Such as Europe/Amsterdam; empty = as the settings say"),
    )
    starts_at = models.DateTimeField(_("starts"), null=True, blank=True, help_text=_("There is no run before"))
    ends_at = models.DateTimeField(_("ends"), null=True, blank=True, help_text=_("There is no run after"))
    no_overlap = models.BooleanField(
        _("no overlap"), default=False, help_text=_("Leave a run out while the last one is unfinished")
    )
    declared = models.CharField(
        _("declared by"),
        max_length=255,
        null=True,
        unique=True,
        editable=False,
        help_text=_("The code that declares it"),
    )
    declared_at = models.DateTimeField(
        _("declaration seen"), null=True, editable=False, help_text=_("When a running cluster last had it in its code")
    )
    runs = models.PositiveBigIntegerField(
        _("runs"), default=0, editable=False, help_text=_("How many were sent so far")
    )
    busy_since = models.DateTimeField(
        _("busy since"),
        null=True,
        editable=False,
        help_text=_("When the run that is unfinished was sent; kept for schedules that must not overlap"),
    )
    anchor = models.DateTimeField(_("anchor"), null=True, editable=False)
    held_until = models.DateTimeField(
        _("held until"),
        null=True,
        editable=False,
        help_text=_("No cluster looks at it before: one is just firing it, or it could not be fired"),
    )
    last_error = models.TextField(_("last error"), blank=True, editable=False)

    objects: ClassVar[models.Manager[Schedule]] = ScheduleQuerySet.as_manager()

    _loaded: tuple[Any, ...] | None = None
    _read: Mapping[str, Any] = MappingProxyType({})

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("scheduled task")
        verbose_name_plural = _("scheduled tasks")
        ordering: ClassVar = ["next_run"]
        permissions = (
            ("run_schedule", "Can run schedules at once"),
            ("enable_schedule", "Can enable and disable schedules"),
            ("schedule_any_function", "Can schedule functions that are no registered tasks"),
        )
        indexes = (models.Index(fields=["enabled", "next_run"], name="django_cluster_schedule_due"),)

    def __str__(self) -> str:
        return visible(self.name or self.func)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """As ever; a whole row is settled first: its first run, its anchor, and a clean slate after an error.

        What a scheduler may have written since the row was read is left alone, unless it was changed here.
        """
        if kwargs.get("update_fields") is None:
            self.settle()
        else:
            self.keep_moments_as_the_project_does()
        super().save(*args, **kwargs)
        self._remember()

    def _do_update(
        self, base_qs: Any, using: Any, pk_val: Any, values: Any, update_fields: Any, *more: Any, **others: Any
    ) -> Any:
        """Of a whole row, without the columns of the schedulers that are as they were read.

        Here, and not by ``update_fields``: where the row is gone, Django inserts all of it.
        """
        if update_fields is None and using == self._state.db and self._read.get("id") == pk_val:
            read, here = self._read, self.__dict__
            same = {name for name in WRITTEN_BY_SCHEDULERS if name in read and read[name] == here.get(name)}
            values = [each for each in values if each[0].attname not in same]
        return super()._do_update(base_qs, using, pk_val, values, update_fields, *more, **others)

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        schedule = super().from_db(*args, **kwargs)
        schedule._remember()
        return schedule

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        self._remember()

    def clean(self) -> None:
        """Refuse, field by field, what could never be fired. Whether the function exists, only a cluster knows."""
        self.keep_moments_as_the_project_does()
        problems: dict[str, str] = {}
        for field, check in self._checks().items():
            try:
                check()
            except (ValueError, ImportError, OverflowError, UnknownFunction) as error:
                problems[field] = str(error)
        if problems:
            raise ValidationError(problems)

    # ── what it is ───────────────────────────────────────────────────────────────────────────────

    @property
    def is_declared(self) -> bool:
        """Whether it stands in the code, and is changed there and nowhere else."""
        return self.declared is not None

    def success(self) -> bool | None:
        """Whether the last task succeeded; None while it has no row."""
        return Task.objects.filter(pk=self.task).values_list("success", flat=True).first() if self.task else None

    # ── saving ───────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Its first run, if it has none yet, its anchor, and a clean slate after an error."""
        self.keep_moments_as_the_project_does()
        now = self._timing()
        before = self._loaded
        rewritten = before is not None and before != now and before[-1] == now[-1]
        if self.schedule_type == self.CRON and (
            (self._state.adding and self.next_run is None) or (rewritten and self.next_run is not None)
        ):
            self.start_with_the_expression()
        elif self._state.adding and self.next_run is None:
            self.next_run = max(timezone.now(), self.starts_at) if self.starts_at else timezone.now()
        elif rewritten and self.next_run is None and self.anchor is not None and self.repeats:
            self._resume()
        self.anchor = self._settled_anchor()
        self.held_until, self.last_error = None, ""

    def _resume(self) -> None:
        """Its end has been moved, or its rule: it goes on with what comes next, if there is anything."""
        now = timezone.now()
        with suppress(ValueError, ImportError, OverflowError):
            self.next_run = first_run(self.rule(), now, self.zone(now), self.window)

    def _settled_anchor(self) -> datetime | None:
        if self.next_run is None:
            return self.anchor
        try:
            rule = self.rule()
            rule.check()
            return rule.through(self.next_run, self.zone(self.next_run)).anchor
        except (ValueError, ImportError, OverflowError):
            return self.next_run  # incomplete: it may be saved so, and the scheduler will say what is missing

    def _remember(self) -> None:
        """The row as it is now in the database."""
        self._loaded = self._timing()
        here = self.__dict__
        self._read = {name: here[name] for name in ("id", *WRITTEN_BY_SCHEDULERS) if name in here}

    def _timing(self) -> tuple[Any, ...]:
        """What the next run depends on; a field that was not loaded is None."""
        return tuple(self.__dict__.get(name) for name in TIMING)

    def _checks(self) -> dict[str, Any]:
        kind_field = {self.MINUTES: "minutes", self.CRON: "cron"}.get(self.schedule_type, "schedule_type")
        return {
            kind_field: lambda: self.rule().check(),
            "args": lambda: args_from_text(self.args),
            "kwargs": lambda: kwargs_from_text(self.kwargs),
            "func": lambda: dotted_path(self.func) if self.func else None,
            "hook": lambda: dotted_path(self.hook) if self.hook else None,
            "intended_date_kwarg": lambda: _check_name(self.intended_date_kwarg),
            "time_zone": lambda: check_zone(self.time_zone),
            "ends_at": lambda: _check_window(self.window),
            "name": lambda: checked(self.name, "The name") if self.name else None,
        }


def _check_window(window: Window) -> None:
    if window.start is not None and window.end is not None and window.end < window.start:
        raise ValueError("The end lies before the start: there would never be a run.")


def _check_name(name: str | None) -> None:
    if name and (not name.isidentifier() or iskeyword(name)):
        raise ValueError(f"{name!r} cannot be the name of an argument.")
