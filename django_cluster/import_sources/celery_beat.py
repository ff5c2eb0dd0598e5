"""``qimport celery_beat``: the schedules of django-celery-beat. Its tables are only read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db import connections
from django.utils import timezone

from django_cluster.core.function_signatures import load_function
from django_cluster.import_sources.schedule_rows import new_schedule, save_schedule
from django_cluster.importing.options import ImportOptions, results_database
from django_cluster.importing.report import ImportReport, NotImportable
from django_cluster.models import Schedule

TABLE = "django_celery_beat_{}"
SECONDS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
OWN = "celery.backend_cleanup"
"""Celery's own schedule, which deletes old results: the setting ``retention_days`` does that here."""

Row = dict[str, Any]
T = TypeVar("T")


def run(options: ImportOptions) -> Iterator[ImportReport]:
    report = ImportReport("Schedules")
    if TABLE.format("periodictask") not in connections[options.database].introspection.table_names():
        report.missing = f"The database {options.database!r} has no table {TABLE.format('periodictask')}."
        yield report
        return
    known = set(Schedule.objects.using(results_database()).values_list("name", flat=True))
    names: set[str | None] = set()
    rules = {kind: {row["id"]: row for row in _rows(kind, options)} for kind in ("interval", "crontab", "clocked")}
    for row in _rows("periodictask", options):
        if row["name"][:100] in known:
            report.already_present += 1
            continue
        try:
            schedule = _schedule(row, rules)
        except NotImportable as reason:
            report.leave(str(reason))
            continue
        if schedule.name in names:
            report.leave("begins its name with the same 100 characters as another schedule.")
            continue
        names.add(schedule.name)
        if not options.dry_run:
            save_schedule(schedule)
        report.imported += 1
    yield report


def _rows(name: str, options: ImportOptions) -> list[Row]:
    table = TABLE.format(name if name == "periodictask" else f"{name}schedule")
    connection = connections[options.database]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)} ORDER BY id")  # noqa: S608  a name of ours
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _schedule(row: Row, rules: dict[str, dict[int, Row]]) -> Schedule:
    if row["task"] == OWN:
        raise NotImportable("deletes old results of Celery: retention_days does that here.")
    if row["solar_id"]:
        raise NotImportable("follows the sun, which no schedule here does.")
    path = _path(row["task"])
    timing = _timing(row, rules)
    return new_schedule(
        name=row["name"][:100],
        func=path,
        args=_json(row["args"] or "[]", list),
        kwargs=_json(row["kwargs"] or "{}", dict),
        queue=row["queue"] or None,
        repeats=1 if row["one_off"] else -1,
        enabled=bool(row["enabled"]),
        priority=row["priority"],
        expires=row["expire_seconds"],
        starts_at=_moment(row["start_time"]),
        ends_at=_moment(row["expires"]),
        **timing,
    )


def _json(text: str, kind: type[T]) -> T:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise NotImportable(f"has arguments that are no JSON: {error}") from error
    if not isinstance(value, kind):
        raise NotImportable(f"has arguments of the type {type(value).__name__} instead of {kind.__name__}.")
    return value


def _path(name: str) -> str:
    """The dotted path of a task, whose name is another one if the project has chosen it."""
    try:
        load_function(name)
    except Exception as error:
        registered = _registered(name)
        if registered is None:
            raise NotImportable(f"calls {name!r}, which is no dotted path: {error}") from error
        return registered
    return name


def _registered(name: str) -> str | None:
    try:
        from celery import current_app
    except ImportError:
        return None
    task = current_app.tasks.get(name)
    return None if task is None else f"{task.run.__module__}.{task.run.__name__}"


def _timing(row: Row, rules: dict[str, dict[int, Row]]) -> dict[str, Any]:
    if key := row["interval_id"]:
        rule = rules["interval"][key]
        seconds = rule["every"] * SECONDS.get(rule["period"], 1e-6)
        last = _moment(row["last_run_at"])
        due = last + timedelta(seconds=seconds) if last else _moment(row["start_time"])
        return {"seconds": seconds, "next_run": due}
    if key := row["crontab_id"]:
        rule = rules["crontab"][key]
        if rule["day_of_month"] != "*" and rule["day_of_week"] != "*":
            raise NotImportable("wants both a day of the month and a day of the week; in cron, either is enough.")
        fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        return {"cron": " ".join(rule[field].replace(" ", "") for field in fields), "zone": str(rule["timezone"])}
    if key := row["clocked_id"]:
        return {"next_run": _moment(rules["clocked"][key]["clocked_time"])}
    raise NotImportable("has no rule.")


def _moment(value: Any) -> Any:
    """A moment of the database, with its zone: cursors of SQLite and MariaDB return UTC without it."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is None or not timezone.is_naive(value):
        return value
    return value.replace(tzinfo=UTC) if timezone.is_aware(timezone.now()) else timezone.make_aware(value)
