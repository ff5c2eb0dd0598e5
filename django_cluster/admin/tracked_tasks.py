"""The page of tracked tasks: where each is in its life, from the moment at which it was sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_cluster.admin.base import ClusterAdmin, in_database
from django_cluster.admin.formatting import (
    NOTHING,
    ago,
    as_text,
    badge,
    function_path,
    may_be_shown,
    shown_args,
    shown_value,
    truncated,
    with_zone,
)
from django_cluster.admin.search import CappedChangeList, CappedPaginator, RecentValuesFilter
from django_cluster.core.redaction import redactor
from django_cluster.models import TrackedTask
from django_cluster.models.tracked_task import STATUSES

LABELS = dict(STATUSES)
ONLY_ON_ITS_PAGE = ("arguments", "return_value", "metadata", "errors", "payload")
"""Columns that a list does not read."""
STYLES = {
    **{"scheduled": "again", "queued": "again", "blocked": "again", "retrying": "again"},
    **{"failed": "failure", "cancelled": "discarded"},
}
"""Status → the style of its word, unless it has one of its own."""


class TrackedTaskList(CappedChangeList):
    """A list of tracked tasks without the columns that only the page of one task shows."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        return rows.defer(*ONLY_ON_ITS_PAGE)


class TrackedStatusFilter(admin.SimpleListFilter):
    title, parameter_name = _("status"), "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return list(STATUSES)

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(status=self.value()) if self.value() in LABELS else queryset


class TrackedFunctionFilter(RecentValuesFilter):
    title, parameter_name, newest_first = _("function"), "func", "-enqueued_at"
    indexed = True  # the table has no other bound than its days


class TrackedQueueFilter(RecentValuesFilter):
    title, parameter_name, newest_first = _("queue"), "queue", "-enqueued_at"
    indexed = True


@admin.register(TrackedTask)
class TrackedTaskAdmin(ClusterAdmin):
    """Rows are written by clusters: they can be looked at, and deleted."""

    list_display = (
        *("shown_func", "shown_status", "shown_enqueued", "shown_finished", "runs"),
        *("shown_name", "group", "queue"),
    )
    list_filter = (TrackedStatusFilter, TrackedFunctionFilter, TrackedQueueFilter)
    search_fields = ("=id", "=name", "=func", "=group")
    ordering = ("-enqueued_at",)
    sortable_by = ("shown_enqueued",)
    paginator = CappedPaginator
    list_max_show_all = 0
    fieldsets = (
        (None, {"fields": ("full_func", "shown_args", "shown_kwargs", "shown_status", "shown_return_value")}),
        (None, {"fields": ("shown_errors",)}),
        (
            _("Details"),
            {
                "fields": (
                    *("id", "name", "group", "queue", "broker", "priority", "shown_workers", "backend", "queue_name"),
                    *("shown_metadata", "exact_enqueued", "exact_due", "exact_started", "exact_last", "exact_finished"),
                )
            },
        ),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TrackedTaskList]:
        return TrackedTaskList

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return in_database(super().get_queryset(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # ── columns ──────────────────────────────────────────────────────────────────────────────────

    @admin.display(description=_("function"))
    def shown_func(self, task: TrackedTask) -> SafeString:
        return function_path(task.func)

    @admin.display(description=_("status"))
    def shown_status(self, task: TrackedTask) -> SafeString:
        return badge(STYLES.get(task.status, task.status), LABELS.get(task.status, task.status))

    @admin.display(description=_("name"))
    def shown_name(self, task: TrackedTask) -> SafeString:
        return truncated(task.name or task.id)

    @admin.display(description=_("enqueued"), ordering="enqueued_at")
    def shown_enqueued(self, task: TrackedTask) -> SafeString:
        return ago(task.enqueued_at)

    @admin.display(description=_("finished"))
    def shown_finished(self, task: TrackedTask) -> SafeString:
        return SafeString(NOTHING) if task.finished_at is None else ago(task.finished_at)

    @admin.display(description=_("runs"))
    def runs(self, task: TrackedTask) -> int:
        return len(task.worker_ids) if isinstance(task.worker_ids, list) else 0

    # ── fields ───────────────────────────────────────────────────────────────────────────────────

    @admin.display(description=_("function"))
    def full_func(self, task: TrackedTask) -> SafeString:
        return function_path(task.func)

    @admin.display(description=_("arguments"))
    def shown_args(self, task: TrackedTask) -> SafeString:
        """Arguments of a task of Django's framework; the row of any other task has none."""
        return shown_args(task, task.func, lambda: tuple(task.arguments[0])) if task.arguments else as_text(None)

    @admin.display(description=_("keyword arguments"))
    def shown_kwargs(self, task: TrackedTask) -> SafeString:
        return shown_value(task, lambda: task.arguments[1]) if task.arguments else as_text(None)

    @admin.display(description=_("return value"))
    def shown_return_value(self, task: TrackedTask) -> SafeString:
        return as_text(None) if task.return_value is None else shown_value(task, lambda: task.return_value)

    @admin.display(description=_("metadata"))
    def shown_metadata(self, task: TrackedTask) -> SafeString:
        return as_text(None) if task.metadata is None else shown_value(task, lambda: task.metadata)

    @admin.display(description=_("errors"))
    def shown_errors(self, task: TrackedTask) -> SafeString:
        """The exception of each run that failed, and for those who may see arguments the traceback."""
        found = [each for each in task.errors if isinstance(each, list) and len(each) == 2] if task.errors else []
        whole = may_be_shown(task)
        return as_text(
            "\n\n".join(f"{kind}\n{redactor().text(str(text))}" if whole else str(kind) for kind, text in found)
        )

    @admin.display(description=_("workers"))
    def shown_workers(self, task: TrackedTask) -> SafeString:
        return as_text("\n".join(map(str, task.worker_ids)) if isinstance(task.worker_ids, list) else None)

    @admin.display(description=_("enqueued"))
    def exact_enqueued(self, task: TrackedTask) -> str:
        return with_zone(task.enqueued_at)

    @admin.display(description=_("not before"))
    def exact_due(self, task: TrackedTask) -> str:
        return NOTHING if task.run_after is None else with_zone(task.run_after)

    @admin.display(description=_("started"))
    def exact_started(self, task: TrackedTask) -> str:
        return NOTHING if task.started_at is None else with_zone(task.started_at)

    @admin.display(description=_("last run started"))
    def exact_last(self, task: TrackedTask) -> str:
        return NOTHING if task.last_attempted_at is None else with_zone(task.last_attempted_at)

    @admin.display(description=_("finished"))
    def exact_finished(self, task: TrackedTask) -> str:
        return NOTHING if task.finished_at is None else with_zone(task.finished_at)
