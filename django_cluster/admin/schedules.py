"""The pages of schedules: the list, the form, and the actions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten, flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_cluster import control
from django_cluster.admin.base import (
    MAX_ROWS_PER_ACTION,
    STYLES,
    VIEW_ARGUMENTS,
    AnyScheduleForm,
    ClusterAdmin,
    in_database,
    may,
)
from django_cluster.admin.formatting import (
    NOTHING,
    as_text,
    badge,
    from_now,
    function_path,
    moment_text,
    showable,
    shown_args,
    shown_value,
    state_badge,
    truncated,
)
from django_cluster.admin.schedule_filters import StateFilter
from django_cluster.admin.schedule_form import ScheduleForm
from django_cluster.admin.schedule_preview import PREVIEWED_RUNS, preview_of
from django_cluster.core.arguments import args_from_text, kwargs_from_text
from django_cluster.core.redaction import redactor
from django_cluster.dashboard.state_labels import schedule_state
from django_cluster.models import Schedule, Task
from django_cluster.models.aliases import AliasField
from django_cluster.models.schedule_timing import MOMENTS
from django_cluster.schedules.declarations import registered_tasks

RARE_FIELDS = ("time_zone", "starts_at", "ends_at", "catch_up", "no_overlap", "queue", "hook", "intended_date_kwarg")


@admin.register(Schedule)
class ScheduleAdmin(ClusterAdmin):
    form = ScheduleForm
    list_display = ("shown_name", "shown_func", "shown_rule", "shown_next_run", "shown_state", "last_run", "queue")
    list_filter = (StateFilter, "schedule_type")
    search_fields = ("name", "func")
    readonly_fields = ("shown_rule", "shown_runs", "last_task", "runs", "declared", "shown_error")
    fieldsets = (
        (None, {"fields": ("name", "func", "args", "kwargs", "enabled")}),
        (
            _("When"),
            {"fields": ("schedule_type", "minutes", "cron", "next_run", "repeats", "shown_rule", "shown_runs")},
        ),
        (
            _("More"),
            {
                "classes": ("collapse",),
                "fields": (
                    *("time_zone", "starts_at", "ends_at", "catch_up", "no_overlap", "queue", "hook"),
                    "intended_date_kwarg",
                ),
            },
        ),
        (_("History"), {"fields": ("last_task", "runs", "declared", "shown_error")}),
    )
    actions = ["run_now", "enable", "disable"]

    class Media:
        css = STYLES
        js = ("django_cluster/schedule.js",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Each schedule with how its last task ended, in one query."""
        last = Task.objects.filter(pk=models.OuterRef("task"))
        rows: models.QuerySet[Any] = in_database(super().get_queryset(request))
        rows = rows.annotate(last_success=models.Subquery(last.values("success")[:1]))
        return rows

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What is rarely needed is folded, unless this schedule has some of it."""
        fieldsets = super().get_fieldsets(request, obj)
        if not self._may_edit_arguments(request, obj):
            fieldsets = _with_shown_arguments(fieldsets)
        if obj is None or not any(getattr(obj, name) for name in RARE_FIELDS):
            return fieldsets
        return [(title, {**options, "classes": ()}) for title, options in fieldsets]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Who may only read is shown the moments of the row by Django itself."""
        row = super().get_object(request, object_id, from_field)
        if row is not None and not self.has_change_permission(request, row):
            for name in MOMENTS:
                setattr(row, name, showable(getattr(row, name)))
        return row

    # ── changing ─────────────────────────────────────────────────────────────────────────────────

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._is_theirs(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or not obj.is_declared)

    def _is_theirs(self, request: HttpRequest, obj: Schedule | None) -> bool:
        """What is declared is changed in the code. And with other arguments a function is another danger."""
        if obj is None:
            return True
        if obj.is_declared:
            return False
        return may(request, "schedule_any_function") or {obj.func, obj.hook or obj.func} <= set(registered_tasks())

    # ── arguments ────────────────────────────────────────────────────────────────────────────────

    def _may_edit_arguments(self, request: HttpRequest, obj: Schedule | None) -> bool:
        """Who may not see arguments writes them into new schedules, and leaves those of others as they are."""
        return obj is None or (may(request, VIEW_ARGUMENTS) and self.has_change_permission(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if self._may_edit_arguments(request, obj) else (*fields, "shown_args", "shown_kwargs")

    @admin.display(description=_("arguments"))
    def shown_args(self, schedule: Schedule) -> SafeString:
        return shown_args(schedule, schedule.func, lambda: args_from_text(schedule.args))

    @admin.display(description=_("keyword arguments"))
    def shown_kwargs(self, schedule: Schedule) -> SafeString:
        return shown_value(schedule, lambda: kwargs_from_text(schedule.kwargs))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"any_function": may(request, "schedule_any_function")})

    def save_model(self, request: HttpRequest, obj: Schedule, form: AnyScheduleForm, change: bool) -> None:
        """Who moves the next run by hand means a new beginning."""
        if "next_run" in form.changed_data:
            obj.anchor = None
        obj.accept()
        super().save_model(request, obj, form, change)

    # ── what comes of it ─────────────────────────────────────────────────────────────────────────

    def own_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview)
        return [path("preview/", view, name="django_cluster_schedule_preview")]

    def preview(self, request: HttpRequest) -> JsonResponse:
        """The rule in words and the next runs, of a form as it stands now."""
        if request.method != "POST" or not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        return JsonResponse(preview_of(request.POST))

    # ── what may be done ─────────────────────────────────────────────────────────────────────────

    def has_run_permission(self, request: HttpRequest) -> bool:
        return may(request, "run_schedule")

    def has_enable_permission(self, request: HttpRequest) -> bool:
        return may(request, "enable_schedule")

    @admin.action(description=_("Run the selected schedules now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        done = 0
        for row in queryset[:MAX_ROWS_PER_ACTION]:
            try:
                control.run_now(row)
                self.log_change(request, row, "Run now.")
                done += 1
            except Exception as error:  # noqa: BLE001  a row may say anything, and in sync mode the task runs here
                self.message_user(request, f"{row}: {error}", messages.ERROR)
        if done:
            text = ngettext("%(count)d task was sent.", "%(count)d tasks were sent.", done) % {"count": done}
            self.message_user(request, text, messages.SUCCESS)

    @admin.action(description=_("Enable the selected schedules"), permissions=["enable"])
    def enable(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        self._switch(request, queryset, on=True)

    @admin.action(description=_("Disable the selected schedules"), permissions=["enable"])
    def disable(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        self._switch(request, queryset, on=False)

    def _switch(self, request: HttpRequest, queryset: models.QuerySet[Any], *, on: bool) -> None:
        changed = [row for row in queryset if row.enabled is not on]
        control.set_enabled(changed, on)
        for row in changed:
            self.log_change(request, row, "Enabled." if on else "Disabled.")
        if on:
            text = ngettext("%(count)d schedule is enabled.", "%(count)d schedules are enabled.", len(changed))
        else:
            text = ngettext("%(count)d schedule is disabled.", "%(count)d schedules are disabled.", len(changed))
        self.message_user(request, text % {"count": len(changed)}, messages.SUCCESS)

    # ── columns and fields ───────────────────────────────────────────────────────────────────────

    @admin.display(description=_("rule"), ordering="schedule_type")
    def shown_rule(self, schedule: Schedule) -> SafeString:
        """Marked, so that the script of the form finds it in whatever a theme puts around it."""
        words = schedule.describe() if schedule.pk else NOTHING
        return format_html('<span class="dc-words" title="{}">{}</span>', words, words)

    @admin.display(description=_("next run"), ordering="next_run")
    def shown_next_run(self, schedule: Schedule) -> SafeString:
        """By our own hand: Django fails for the whole list where one moment has no place in the reader's calendar."""
        return from_now(schedule.next_run) if schedule.next_run else SafeString(NOTHING)

    @admin.display(description=_("name"), ordering="name")
    def shown_name(self, schedule: Schedule) -> SafeString:
        return truncated(schedule.name or schedule.func.rpartition(".")[2])

    @admin.display(description=_("function"), ordering="func")
    def shown_func(self, schedule: Schedule) -> SafeString:
        return function_path(schedule.func)

    @admin.display(description=_("next runs"))
    def shown_runs(self, schedule: Schedule) -> SafeString:
        runs = [(moment_text(run),) for run in schedule.upcoming(PREVIEWED_RUNS)] if schedule.pk else []
        items = format_html_join("", "<li>{}</li>", runs)
        url = reverse(f"{self.admin_site.name}:django_cluster_schedule_preview")
        return format_html('<ul id="dc-runs" data-url="{}" aria-live="polite">{}</ul>', url, items)

    @admin.display(description=_("state"), ordering="enabled")
    def shown_state(self, schedule: Schedule) -> SafeString:
        left = None if schedule.next_run is None else (schedule.next_run - timezone.now()).total_seconds()
        state = state_badge(
            schedule_state(
                enabled=schedule.enabled, repeats=schedule.repeats, until_next_run=left, error=schedule.last_error
            )
        )
        if schedule.last_error and not schedule.enabled:
            state = format_html("{} {}", state, badge("dim", gettext("off")))
        return format_html("{} {}", state, badge("declared", gettext("in code"))) if schedule.is_declared else state

    @admin.display(description=_("last error"))
    def shown_error(self, schedule: Schedule) -> SafeString:
        return as_text(redactor().text(schedule.last_error))

    @admin.display(description=_("last task"))
    def last_task(self, schedule: Any) -> str | SafeString:
        if getattr(schedule, "last_success", None) is None:
            return schedule.task or NOTHING
        page = "success" if schedule.last_success else "failure"
        url = reverse(f"{self.admin_site.name}:django_cluster_{page}_change", args=(schedule.task,))
        return format_html('<a href="{}">{}</a>', url, schedule.task)

    # Django-Q's names, for the lists of subclasses.

    @admin.display(description=_("last run"))
    def get_last_run(self, schedule: Any) -> SafeString:
        """A link to the last task."""
        return self.last_run(schedule)

    @admin.display(description=_("success"), boolean=True)
    def get_success(self, schedule: Any) -> bool | None:
        """Whether the last task succeeded; None while it has no row."""
        found: bool | None = schedule.last_success
        return found

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A field of the form under the second name of a column, if a subclass names it among its fields."""
        named: Any = flatten_fieldsets(self.fieldsets) if self.fieldsets else self.fields or ()
        if isinstance(db_field, AliasField) and db_field.name in flatten(named):
            db_field = self.model._meta.get_field(db_field.alias_of)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description=_("last run"))
    def last_run(self, schedule: Any) -> SafeString:
        """How the last task ended: a link to its page."""
        if schedule.last_success is None:
            return SafeString(NOTHING)
        page = "success" if schedule.last_success else "failure"
        url = reverse(f"{self.admin_site.name}:django_cluster_{page}_change", args=(schedule.task,))
        return format_html('<a href="{}">{}</a>', url, badge(page))


def _with_shown_arguments(fieldsets: Any) -> Any:
    """The fields of the form, with the arguments as text instead of inputs."""
    names = {"args": "shown_args", "kwargs": "shown_kwargs"}
    return [
        (title, {**parts, "fields": tuple(names.get(field, field) for field in parts["fields"])})
        for title, parts in fieldsets
    ]
