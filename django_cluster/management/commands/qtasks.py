"""``manage.py qtasks``: the tasks of the project, with their options and schedules."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext as _

from django_cluster.conf import load_settings
from django_cluster.management.base import ReadOnlyCommand, sentence
from django_cluster.task_objects.listing import RegisteredTask, ScheduleSummary, list_tasks, plain


class Command(ReadOnlyCommand):
    """Prints one paragraph for each task, or JSON."""

    help = _("Lists the tasks that the project has registered, their options, and the schedules that send them.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--queue", help=_("Only tasks that are sent to this queue by their own options."))
        parser.add_argument("--json", action="store_true", help=_("Print JSON."))

    def report(self, options: dict[str, Any]) -> None:
        tasks = list_tasks(options["queue"], load_settings().results.database)
        if options["json"]:
            self.stdout.write(json.dumps([as_json(task) for task in tasks], indent=2))
        elif tasks:
            self.stdout.write("\n".join(line for task in tasks for line in lines(task)))
        else:
            self.stdout.write(_("No task is registered: mark functions with @task in the tasks module of an app."))


def as_json(task: RegisteredTask) -> dict[str, Any]:
    """One task as JSON: moments in ISO 8601, durations in seconds."""
    schedules = [
        {
            "name": schedule.name,
            "rule": schedule.rule,
            "next_run": schedule.next_run.isoformat() if schedule.next_run else None,
            "enabled": schedule.enabled,
        }
        for schedule in task.schedules
    ]
    options = {name: plain(value) for name, value in task.options.items()}
    return {"task": task.path, "options": options, "takes_context": task.takes_context, "schedules": schedules}


def lines(task: RegisteredTask) -> Iterator[str]:
    """The path and the options; below, a line for each schedule."""
    options = "  ".join(f"{name}={plain(value)}" for name, value in task.options.items())
    yield sentence(f"{task.path}  {options}".rstrip())
    yield from (sentence(f"    {line}").rstrip() for line in map(schedule_line, task.schedules))


def schedule_line(schedule: ScheduleSummary) -> str:
    """``nightly: every day at 05:00, next 2026-12-01 05:00``."""
    if not schedule.enabled:
        when = _("disabled")
    elif schedule.next_run is None:
        when = _("no further run")
    else:
        moment = localtime(schedule.next_run) if is_aware(schedule.next_run) else schedule.next_run
        when = _("next %(when)s") % {"when": f"{moment:%Y-%m-%d %H:%M}"}
    return f"{schedule.name}: {schedule.rule}, {when}"
