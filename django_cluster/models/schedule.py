"""Schedules: what to call, and when."""
# ruff: noqa: DJ001  None means "not given", as Django-Q's rows say it: filter(queue=None)

from __future__ import annotations

from keyword import iskeyword
from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.signals import pre_save
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_cluster.core import recurrence
from django_cluster.core.arguments import args_from_text, kwargs_from_text
from django_cluster.core.due import CatchUp, RunWindow
from django_cluster.core.import_paths import dotted_path
from django_cluster.core.safe_text import printable, require_storable
from django_cluster.errors import UnknownFunction
from django_cluster.models.aliases import Alias, field_name
from django_cluster.models.schedule_planning import PLAN, RULE, WRITTEN_BY_SCHEDULERS
from django_cluster.models.schedule_queries import BATCH_ROWS, ScheduleQuerySet
from django_cluster.models.schedule_seal import SEALED, ScheduleSealField, seal_of
from django_cluster.models.schedule_sealing import ScheduleSealing
from django_cluster.models.schedule_timing import check_zone, type_choices
from django_cluster.models.task import Task
from django_cluster.models.whole_number import PositiveWholeNumberField, WholeNumberField

__all__ = ["BATCH_ROWS", "PLAN", "RULE", "WRITTEN_BY_SCHEDULERS", "Schedule", "ScheduleQuerySet"]


class Schedule(ScheduleSealing, models.Model):
    """One row for each schedule.

    ``anchor`` is the occurrence from which all others are counted: it keeps the 31st through February, and 02:30
    through a night without one. It follows ``next_run``; to move ``next_run`` to another date that the rule would have
    reached as well, and count from there, set ``anchor`` to None before saving.

    ``next_run`` follows the other columns: a changed rule without a given next run leads to the one that the new
    rule names. ``planned_from`` is the rule from which it was calculated, ``local_next_run`` and ``local_anchor`` are
    the local times that are meant by the two moments (``core/next_run.py``).
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
    minutes = PositiveWholeNumberField(
        _("minutes"), null=True, blank=True, help_text=_("Of the type minutes: every n minutes")
    )
    repeats = WholeNumberField(_("repeats"), default=-1, help_text=_("How many more times; -1 = forever, 0 = no more"))
    next_run = models.DateTimeField(_("next run"), null=True, blank=True)
    cron = models.CharField(
        _("cron expression"), max_length=100, null=True, blank=True, help_text=_("Of the type cron: 30 2 * * 1-5")
    )
    task = models.CharField(_("last task"), max_length=100, null=True, editable=False)
    queue = models.CharField(
        _("queue"), max_length=100, null=True, blank=True, help_text=_("The queue to use; empty = the default one")
    )
    cluster: Alias[str | None] = Alias("queue")
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
    local_next_run = models.CharField(
        max_length=128, blank=True, default="", editable=False, help_text="The local time that is meant by next_run"
    )
    local_anchor = models.CharField(
        max_length=128, blank=True, default="", editable=False, help_text="The local time that is meant by anchor"
    )
    planned_from = models.CharField(
        max_length=200, blank=True, default="", editable=False, help_text="The rule that next_run was calculated from"
    )
    claimed_until = models.DateTimeField(
        _("claimed until"),
        null=True,
        editable=False,
        help_text=_("No cluster looks at it before: one is just firing it, or it could not be fired"),
    )
    last_error = models.TextField(_("last error"), blank=True, editable=False)
    seal = ScheduleSealField(
        _("seal"),
        max_length=64,
        default="",
        blank=True,
        editable=False,
        help_text=_("Shows that what is run was said by code of the project"),
    )

    objects: ClassVar[models.Manager[Schedule]] = ScheduleQuerySet.as_manager()

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("scheduled task")
        verbose_name_plural = _("scheduled tasks")
        ordering: ClassVar = ["next_run"]
        permissions = (
            ("run_schedule", "Can run schedules immediately"),
            ("enable_schedule", "Can enable and disable schedules"),
            ("schedule_any_function", "Can schedule functions that are not registered tasks"),
        )
        indexes = (models.Index(fields=["enabled", "next_run"], name="django_cluster_schedule_due"),)

    def __str__(self) -> str:
        return printable(self.name or self.func)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row. First, its next run is planned if the rule was changed, and an error is cleared.

        What a scheduler may have written since the row was read is left alone, unless it was changed here. With
        ``update_fields``, what follows from these is written as well.
        """
        given = kwargs.get("update_fields")
        if given is not None:
            given = kwargs["update_fields"] = [field_name(type(self), name) for name in given]
        if given is None or set(SEALED) & set(given):
            self._read_missing_sealed()
        if given is None:
            self.plan_next_run()
        elif given:
            more = {"seal"} if set(SEALED) & set(given) else set()
            kwargs["update_fields"] = {*given, *more, *self._plan_for_update(set(given))}
        super().save(*args, **kwargs)
        self._remember(kwargs.get("update_fields"))

    def _do_update(
        self, base_qs: Any, using: Any, pk_val: Any, values: Any, update_fields: Any, *more: Any, **others: Any
    ) -> Any:
        """Update a whole row, except columns of the scheduler that are as they were read.

        Here, and not by ``update_fields``: where the row is gone, Django inserts all of it.
        """
        if update_fields is None and using == self._state.db and self._read.get("id") == pk_val:
            read, here = self._read, self.__dict__
            same = {name for name in WRITTEN_BY_SCHEDULERS if name in read and read[name] == here.get(name)}
            if not same >= PLAN:
                same -= PLAN  # they belong together
            values = [each for each in values if each[0].attname not in same]
        return super()._do_update(base_qs, using, pk_val, values, update_fields, *more, **others)

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        schedule = super().from_db(*args, **kwargs)
        schedule._remember()
        return schedule

    def refresh_from_db(self, using: Any = None, fields: Any = None, from_queryset: Any = None) -> None:
        """Read the row again; a change to a column that is not read again remains a change."""
        names = None if fields is None else list(fields)
        super().refresh_from_db(using, names, from_queryset)
        self._remember(names)

    def clean(self) -> None:
        """Refuse, field by field, what could never be fired. Whether the function exists, only a cluster knows."""
        try:
            self.normalize_moments()
        except (ValidationError, ValueError):
            return  # the field has said it
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
        """Whether the schedule is declared in code, where alone it can be changed."""
        return self.declared is not None

    def success(self) -> bool | None:
        """Whether the last task succeeded; None while it has no row."""
        return Task.objects.filter(pk=self.task).values_list("success", flat=True).first() if self.task else None

    def _checks(self) -> dict[str, Any]:
        kind_field = {self.MINUTES: "minutes", self.CRON: "cron"}.get(self.schedule_type, "schedule_type")
        return {
            kind_field: lambda: self.columns.rule_from(timezone.now()).check(),
            "args": lambda: args_from_text(self.args),
            "kwargs": lambda: kwargs_from_text(self.kwargs),
            "func": lambda: dotted_path(self.func) if self.func else None,
            "hook": lambda: dotted_path(self.hook) if self.hook else None,
            "intended_date_kwarg": lambda: _check_name(self.intended_date_kwarg),
            "time_zone": lambda: check_zone(self.time_zone),
            "ends_at": lambda: _check_window(self.window),
            "name": lambda: require_storable(self.name, "The name") if self.name else None,
        }


def _check_window(window: RunWindow) -> None:
    if window.start is not None and window.end is not None and window.end < window.start:
        raise ValueError("The end lies before the start: there would never be a run.")


def _check_name(name: str | None) -> None:
    if name and (not name.isidentifier() or iskeyword(name)):
        raise ValueError(f"{name!r} cannot be the name of an argument.")


def seal_from_fixture(instance: Schedule, *, raw: bool = False, **_: Any) -> None:
    """A fixture is loaded without ``save`` and without its fields' own work."""
    if raw:
        instance.seal = seal_of(instance)


pre_save.connect(seal_from_fixture, sender=Schedule, dispatch_uid="django_cluster.schedule_seal")
