"""A tracked task: one row for its whole life, from the moment at which it is sent."""

# ruff: noqa: DJ001  None means "not given"
from __future__ import annotations

import json
from typing import Any, ClassVar

from django.db import models, router
from django.utils.translation import gettext_lazy as _

from django_cluster.core.safe_text import printable
from django_cluster.core.task_status import TaskStatus
from django_cluster.models.aliases import AliasQuerySet

STATUSES = (
    (TaskStatus.SCHEDULED.value, _("scheduled")),
    (TaskStatus.QUEUED.value, _("queued")),
    (TaskStatus.BLOCKED.value, _("blocked")),
    (TaskStatus.RUNNING.value, _("running")),
    (TaskStatus.RETRYING.value, _("retrying")),
    (TaskStatus.SUCCESS.value, _("success")),
    (TaskStatus.FAILED.value, _("failed")),
    (TaskStatus.DEAD.value, _("dead")),
    (TaskStatus.CANCELLED.value, _("cancelled")),
    (TaskStatus.EXPIRED.value, _("expired")),
)


def tracked_status_choices() -> list[tuple[str, Any]]:
    """Read at run time, so that a new status needs no migration."""
    return list(STATUSES)


class JsonText(models.TextField):  # type: ignore[type-arg]  # generic for type checkers only
    """A value as JSON in a column of text.

    Unlike a column of JSON, it keeps every text (also with NUL), every number, and the order of keys; nothing looks
    into it. Raises ``TypeError`` and ``ValueError`` for a value that JSON does not know, such as NaN.
    """

    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, *_: object) -> Any:
        try:
            return None if value is None else json.loads(value)
        except (ValueError, RecursionError):  # a row that was changed by hand must not stop the monitor
            return None

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> Any:
        return json_text(value)


def json_text(value: Any) -> str | None:
    """A value as ``JsonText`` keeps it. Raises ``TypeError`` and ``ValueError`` for what JSON does not know."""
    return None if value is None else json.dumps(value, separators=(",", ":"), allow_nan=False)


class TrackedTask(models.Model):
    """Where a task is in its life. ``Task`` says how it ended; both have the same id.

    Written by the sender when the task is sent, by the worker before and after each run, and by the monitor for runs
    whose worker could not.
    """

    id = models.CharField(_("id"), max_length=32, primary_key=True, editable=False)
    name = models.CharField(_("name"), max_length=100, editable=False)
    func = models.CharField(_("function"), max_length=256, editable=False)
    group = models.CharField(_("group"), max_length=100, null=True, editable=False)
    queue = models.CharField(_("queue"), max_length=100, null=True, editable=False)
    broker = models.CharField(_("broker"), max_length=100, null=True, editable=False)
    status = models.CharField(_("status"), max_length=12, choices=tracked_status_choices, editable=False)
    priority = models.SmallIntegerField(_("priority"), default=0, editable=False)
    run_after = models.DateTimeField(_("not before"), null=True, editable=False)
    enqueued_at = models.DateTimeField(_("enqueued"), editable=False)
    started_at = models.DateTimeField(
        _("started"), null=True, editable=False, help_text=_("When its first run started.")
    )
    last_attempted_at = models.DateTimeField(_("last run started"), null=True, editable=False)
    finished_at = models.DateTimeField(_("finished"), null=True, editable=False)
    attempt = models.IntegerField(
        _("attempt"),
        default=0,
        editable=False,
        help_text=_("Number of the last run; a run that is not the last writes nothing."),
    )
    delivery = models.IntegerField(
        _("delivery"), default=0, editable=False, help_text=_("Number of the last run, as the broker counts them.")
    )
    worker_ids = JsonText(_("workers"), default=list, editable=False)
    errors = JsonText(
        _("errors"),
        default=list,
        editable=False,
        help_text=_("Of each run that failed: the path of its exception, and the traceback."),
    )
    backend = models.CharField(
        _("task backend"),
        max_length=100,
        null=True,
        editable=False,
        help_text=_("The alias in TASKS, if it was enqueued by Django's Tasks framework."),
    )
    queue_name = models.CharField(_("queue of the framework"), max_length=100, blank=True, default="", editable=False)
    arguments = JsonText(_("arguments"), null=True, editable=False)
    return_value = JsonText(_("return value"), null=True, editable=False)
    metadata = JsonText(_("metadata"), null=True, editable=False)
    payload = models.TextField(
        _("payload"), null=True, editable=False, help_text=_("The message, until the broker has it.")
    )

    objects: ClassVar[models.Manager[TrackedTask]] = AliasQuerySet["TrackedTask"].as_manager()

    class Meta:
        app_label = "django_cluster"
        verbose_name = _("tracked task")
        verbose_name_plural = _("tracked tasks")
        ordering: ClassVar = ["-enqueued_at"]
        indexes = (
            models.Index(fields=["status", "enqueued_at"], name="django_cluster_tracked_status"),
            models.Index(fields=["finished_at"], name="django_cluster_tracked_ended"),
            models.Index(fields=["enqueued_at"], name="django_cluster_tracked_sent"),
        )

    def __str__(self) -> str:
        return printable(self.name or self.id)


def tracked_tasks(using: str | None = None) -> models.QuerySet[TrackedTask]:
    """All tracked tasks, in the named database or where they are written: a replica may not have the newest."""
    return TrackedTask.objects.using(using or router.db_for_write(TrackedTask)).order_by()
