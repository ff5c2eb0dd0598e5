"""Schedules: those that cannot run, and those that skip runs."""

from __future__ import annotations

from logging import DEBUG, ERROR, WARNING

from django_cluster.core.events.event import Event

SCHEDULE_SUSPENDED = Event(
    key="schedule_suspended",
    level=ERROR,
    message="Schedule %(schedule)r (%(schedule_id)s) cannot run: %(error)s",
    fields=("schedule", "schedule_id", "error"),
    meaning="The rule, the arguments or the function of a schedule cannot be used. It is tried again later.",
    action="Alert on this event. Correct the schedule in the admin, which shows the error.",
)
MISSED_RUNS_SKIPPED = Event(
    key="missed_runs_skipped",
    level=WARNING,
    message="Schedule %(schedule)r (%(schedule_id)s) skipped its runs from %(first_missed)s to before %(upcoming_run)s:"
    " more than max_catch_up",
    fields=("schedule", "schedule_id", "first_missed", "upcoming_run"),
    meaning="No cluster ran for some time, and more runs were missed than `max_catch_up` allows to make up for.",
)
DECLARATIONS_NOT_IMPORTED = Event(
    key="declarations_not_imported",
    level=ERROR,
    message="Module %(module_path)s not imported; its declared schedules are unknown: %(error)s",
    fields=("module_path", "error"),
    meaning="A module with declared schedules raises an exception. Their rows are left as they are.",
    action="Correct the module; the record has the traceback.",
)
DECLARED_SCHEDULE_INVALID = Event(
    key="declared_schedule_invalid",
    level=ERROR,
    message="Declared schedule %(schedule)s not updated: %(error)s",
    fields=("schedule", "error"),
    meaning="A declaration in the code does not make a schedule that can run.",
    action="Correct the declaration.",
)
DECLARED_SCHEDULE_EXISTS = Event(
    key="declared_schedule_exists",
    level=DEBUG,
    message="Row of declared schedule %(schedule)s already created by another cluster",
    fields=("schedule",),
    meaning="Two clusters started at the same time.",
)
UNKNOWN_FUNCTION = Event(
    key="unknown_function",
    level=WARNING,
    message="Schedule for a function that is unknown here: %(error)s",
    fields=("error",),
    meaning="A schedule was created for a function that this process cannot import. A cluster may be able to.",
    action="Correct the path, unless the function lives in another project.",
)
