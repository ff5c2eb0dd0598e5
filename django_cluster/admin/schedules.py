"""Standing orders: the list, the form, and what may be done with them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_cluster.admin.base import ClusterAdmin, rows_of
from django_cluster.admin.showing import NOTHING
from django_cluster.models import Schedule, Task


@admin.register(Schedule)
class ScheduleAdmin(ClusterAdmin):
    list_display = (
        *("id", "name", "func", "schedule_type", "repeats", "cluster", "next_run", "enabled", "last_task"),
        "last_success",
    )
    list_display_links = ("id", "name")
    list_filter = ("enabled", "next_run", "schedule_type")
    search_fields = ("name", "func")
    readonly_fields = ("last_error",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Each schedule with how its last task ended, in one query."""
        last = Task.objects.filter(pk=models.OuterRef("task"))
        rows: models.QuerySet[Any] = rows_of(super().get_queryset(request))
        rows = rows.annotate(last_success=models.Subquery(last.values("success")[:1]))
        return rows

    def save_model(self, request: HttpRequest, obj: Schedule, form: ModelForm[Schedule], change: bool) -> None:
        """Who moves the next run by hand means a new beginning."""
        if "next_run" in form.changed_data:
            obj.anchor = None
        super().save_model(request, obj, form, change)

    @admin.display(description=_("last task"))
    def last_task(self, schedule: Any) -> str | SafeString:
        if schedule.last_success is None:
            return schedule.task or NOTHING
        page = "success" if schedule.last_success else "failure"
        url = reverse(f"{self.admin_site.name}:django_cluster_{page}_change", args=(schedule.task,))
        return format_html('<a href="{}">{}</a>', url, schedule.task)

    @admin.display(description=_("success"), boolean=True)
    def last_success(self, schedule: Any) -> bool | None:
        success: bool | None = schedule.last_success
        return success
