"""ScheduleImporter of Django-Q → ours."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.color import no_style
from django.db import connections, models, transaction

from django_cluster.core.arguments import kwargs_from_text, kwargs_to_text
from django_cluster.core.due import CatchUp
from django_cluster.django_q.importer.source import SourceRow, SourceSchedule, batches
from django_cluster.errors import ClusterError
from django_cluster.importing.report import ImportReport
from django_cluster.lifecycle.admission import allowed_functions
from django_cluster.models import Schedule
from django_cluster.schedules.planning import plan_run

COPIED_COLUMNS = (
    *("name", "func", "hook", "args", "kwargs", "schedule_type", "minutes", "repeats", "next_run", "cron"),
    *("task", "cluster", "intended_date_kwarg"),
)
IDENTITY_COLUMNS = (
    "func",
    "hook",
    "args",
    "kwargs",
    "schedule_type",
    "minutes",
    "cron",
    "cluster",
    "intended_date_kwarg",
)
"""Columns that identify a schedule without a name."""
OPTIONS = frozenset({"ack_failure", "cached", "hook", "save", "sync", "task_name", "timeout"})
"""Keywords that Django-Q's scheduler treats as task options, not as arguments of the function."""


class ScheduleImporter:
    """Imports schedules. ``zone``: their time zone; None without ``USE_TZ``."""

    def __init__(
        self, *, source: str, database: str, zone: tzinfo | None, dry_run: bool, functions: tuple[str, ...]
    ) -> None:
        """``functions``: the setting."""
        self._allowed = allowed_functions(functions)
        self._source, self._database = source, database
        self._zone, self._dry_run = zone, dry_run
        self._displaced: list[SourceRow] = []
        """Rows whose id is taken here."""

    def run(self, report: ImportReport) -> None:
        """Import all schedules; safe to repeat. A schedule is identified by its name, or without one by its columns.

        Ids that are free here are kept. Of a schedule that was imported before, the later next run counts: a cluster
        of Django-Q that still runs has sent those before it. Schedules that run once are moved: there they run no more.
        """
        ours = Schedule.objects.using(self._database)
        here: dict[tuple[Any, ...], list[SourceRow]] = {}
        for known in ours.order_by("pk").values("id", "name", "next_run", "schedule_type", *IDENTITY_COLUMNS):
            here.setdefault(identity(known), []).append(known)
        taken = set(ours.values_list("pk", flat=True))
        for rows in batches(SourceSchedule, self._source):
            with transaction.atomic(using=self._database):
                for row in map(with_options_separated, rows):
                    same = here.get(identity(row))
                    if not same and row["id"] in taken:
                        self._displaced.append(row)
                        report.reasons["got another id, because its own is that of another schedule here"] += 1
                    elif not same:
                        self._import_row(row, report, keep_id=True)
                    else:
                        report.already_present += 1
                        self._follow(row, same.pop(0))
            self._end_there([row["id"] for row in rows if row["schedule_type"] == Schedule.ONCE and row["repeats"]])
        self._reset_ids()
        with transaction.atomic(using=self._database):
            for row in self._displaced:
                self._import_row(row, report, keep_id=False)

    def _follow(self, row: SourceRow, known: SourceRow) -> None:
        theirs, next_run = row["next_run"], known["next_run"]
        if theirs is None or next_run is None or theirs <= next_run or self._dry_run:
            return
        changes: dict[str, Any] = {"next_run": theirs, "task": row["task"]}
        if row["schedule_type"] != Schedule.ONCE:
            changes["repeats"] = row["repeats"]
        Schedule.objects.using(self._database).filter(pk=known["id"]).update(**changes)

    def _end_there(self, ids: list[int]) -> None:
        """Let Django-Q's scheduler leave out these rows, which it does if nothing is left of their repeats."""
        if ids and not self._dry_run:
            models.QuerySet(SourceSchedule, using=self._source).filter(pk__in=ids).update(repeats=0)

    def _reset_ids(self) -> None:
        connection = connections[self._database]
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), [Schedule]) if not self._dry_run else ():
                cursor.execute(statement)

    def _import_row(self, row: SourceRow, report: ImportReport, *, keep_id: bool) -> None:
        schedule = Schedule(**{name: row[name] for name in COPIED_COLUMNS if name in row})
        schedule.pk = row["id"] if keep_id else None
        if schedule.schedule_type == Schedule.ONCE and schedule.repeats < 0:
            # Otherwise it would be deleted after its run, and imported again.
            schedule.repeats = 1
        problem = self._problem(schedule)
        if problem:
            schedule.enabled = False
            report.reasons[f"is disabled, because it could not be fired: {problem}"] += 1
        if not self._dry_run:
            schedule.save(using=self._database, force_insert=True)
            # Saving a row calculates its first run and clears its error.
            kept: dict[str, Any] = {"next_run": row["next_run"]}
            Schedule.objects.using(self._database).filter(pk=schedule.pk).update(**kept, last_error=problem)
        report.imported += 1

    def _problem(self, schedule: Schedule) -> str:
        """Why the schedule could not run; empty if it can."""
        try:
            schedule.full_clean(validate_unique=False)
            for path in filter(None, (schedule.func, schedule.hook)):
                self._allowed.check(path)
            if schedule.next_run is not None:
                plan_run(schedule, schedule.next_run, self._zone, catch_up=CatchUp.ALL)
        except ValidationError as error:
            return " ".join(error.messages)
        except (ClusterError, ValueError, TypeError, ImportError, AssertionError, ArithmeticError) as error:
            return str(error) or type(error).__name__
        return ""


def with_options_separated(row: SourceRow) -> SourceRow:
    """Move options among the keywords to ``q_options``; all other keywords are arguments of the function."""
    try:
        kwargs = kwargs_from_text(row["kwargs"])
        given = dict(kwargs.get("q_options") or {})
    except (ValueError, TypeError):
        return row  # the validation of the row reports it
    apart = OPTIONS & kwargs.keys() - given.keys() - ({"hook"} if row["hook"] else set())
    if not apart:
        return row
    own = {name: value for name, value in kwargs.items() if name not in apart}
    options = {**given, **{name: kwargs[name] for name in sorted(apart)}}
    return {**row, "kwargs": kwargs_to_text({**own, "q_options": options})}


def identity(values: SourceRow) -> tuple[Any, ...]:
    """The identity of a schedule; empty and missing values are equal."""
    if values["name"]:
        return (values["name"],)
    return ("", *(values.get(name) or None for name in IDENTITY_COLUMNS))
