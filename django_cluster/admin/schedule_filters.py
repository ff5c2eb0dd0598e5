"""Filters of the list of schedules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_cluster.dashboard.state_labels import LATE_SECONDS


class StateFilter(admin.SimpleListFilter):
    """What the column of the same name says."""

    title, parameter_name = _("state"), "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("on", _("on")), ("late", _("late")), ("broken", _("cannot run")), ("off", _("off"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        overdue = timezone.now() - timedelta(seconds=LATE_SECONDS)
        sends = queryset.filter(enabled=True, last_error="").exclude(repeats=0)
        chosen = {
            "on": sends.filter(next_run__gte=overdue),
            "late": sends.filter(next_run__lt=overdue),
            "broken": queryset.exclude(last_error=""),
            "off": queryset.filter(enabled=False),
        }
        return chosen.get(str(self.value()), queryset)
