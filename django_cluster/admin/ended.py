"""Successful and failed tasks: their lists, their pages, and what may be done with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_cluster.admin.base import ACT_AT_MOST, ReadOnlyAdmin, may, rows_of
from django_cluster.admin.confirming import ask, confirmed
from django_cluster.admin.export import download
from django_cluster.admin.finding import (
    HELP,
    LISTED,
    CappedPaginator,
    ClusterFilter,
    FunctionFilter,
    GroupFilter,
    RecentValuesFilter,
    find,
)
from django_cluster.admin.showing import WORDS, as_text, ending, seconds, shown, timeline
from django_cluster.errors import ClusterError
from django_cluster.models import Failure, Success, Task

NOT_IN_LISTS = (
    *("sealed_arguments", "sealed_result", "error_message", "error_traceback", "attempts", "payload", "options"),
)
CALL = ("id", "name", "func", "shown_args", "shown_kwargs", "group", "cluster", "hook", "shown_options")
COURSE = ("attempt_count", "worker", "enqueued_at", "started_at", "stopped_at", "time_taken", "run_time")
ENDED_COLUMNS = ("name", "group", "func", "cluster", "enqueued_at", "stopped_at", "time_taken")
DELETED_AT_ONCE = 500


class EndedTaskList(ChangeList):
    """The list of ended tasks, without what only the page of one task shows."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        rows = rows.defer(*NOT_IN_LISTS).annotate(error_beginning=Left("error_message", 100))
        return rows


class StatusFilter(RecentValuesFilter):
    title, parameter_name = _("status"), "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(status, word) for status, word in WORDS.items() if status != "success"]


class EndedTaskAdmin(ReadOnlyAdmin):
    """What successes and failures have in common."""

    search_fields = ("name",)  # shows the field; what it means, get_search_results says
    search_help_text = HELP
    ordering = ("-stopped_at",)
    sortable_by = ("stopped_at",)
    paginator = CappedPaginator
    list_max_show_all = 0
    actions = ("resubmit", "delete_selected", "export_csv", "export_jsonl")
    change_list_template = "admin/django_cluster/ended_list.html"
    change_form_template = "admin/django_cluster/ended_page.html"

    # ── finding ──────────────────────────────────────────────────────────────────────────────────

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EndedTaskList

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return rows_of(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        return (find(queryset, search_term) if search_term.strip() else queryset), False

    # ── what may be done ─────────────────────────────────────────────────────────────────────────

    def has_resubmit_permission(self, request: HttpRequest) -> bool:
        """To run code again takes more than to look."""
        return may(request, "resubmit_task")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return may(request, "export_task")

    @admin.action(description=_("Run the selected tasks again"), permissions=["resubmit"])
    def resubmit(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        keys = list(queryset.values_list("pk", flat=True)[: ACT_AT_MOST + 1])
        done = []
        for task in _in_portions(queryset.model.objects.using(queryset.db).defer(None), keys[:ACT_AT_MOST]):
            try:
                self.run_again(task)
                done.append(task)
            except Exception as error:  # noqa: BLE001  in sync mode the task itself runs here
                self.message_user(request, f"{task}: {error}", messages.ERROR)
        if done:
            self._note(request, done, CHANGE, "Run again.")
            text = ngettext("%(count)d task was sent again.", "%(count)d tasks were sent again.", len(done))
            self.message_user(request, text % {"count": len(done)}, messages.SUCCESS)
        if len(keys) > ACT_AT_MOST:
            self.message_user(request, _rest_is_left(), messages.WARNING)

    def run_again(self, task: Task) -> None:
        from django_cluster.tasks import resubmit  # the public face: it loads what a list does not need

        resubmit(task, on_commit=False)

    @admin.action(description=_("Delete the selected tasks"), permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> TemplateResponse | None:
        """In place of Django's own, which reads every selected row, sealed bytes included."""
        chosen = list(queryset.only("pk", "name")[:LISTED])
        if not confirmed(request):
            text = ngettext("Delete %(count)d task?", "Delete %(count)d tasks?", len(chosen))
            question = text % {"count": len(chosen)}
            return ask(request, self, question=question, concerned=chosen, button=gettext("Delete"))
        self._note(request, chosen, DELETION, "")
        rows = queryset.model.objects.using(queryset.db)
        for start in range(0, len(chosen), DELETED_AT_ONCE):
            rows.filter(pk__in=[task.pk for task in chosen[start : start + DELETED_AT_ONCE]]).delete()
        text = ngettext("%(count)d task was deleted.", "%(count)d tasks were deleted.", len(chosen))
        self.message_user(request, text % {"count": len(chosen)}, messages.SUCCESS)
        return None

    @admin.action(description=_("Export the selected tasks as CSV"), permissions=["export"])
    def export_csv(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> StreamingHttpResponse:
        return self._export(request, queryset, "csv")

    @admin.action(description=_("Export the selected tasks as JSON lines"), permissions=["export"])
    def export_jsonl(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> StreamingHttpResponse:
        return self._export(request, queryset, "jsonl")

    def _export(self, request: HttpRequest, queryset: models.QuerySet[Any], form: str) -> StreamingHttpResponse:
        return download(request, queryset, form, str(self.opts.model_name))

    def _note(self, request: HttpRequest, tasks: list[Task], flag: int, message: str) -> None:
        """Who did it: in Django's own log."""
        if tasks and request.user.pk is not None:
            LogEntry.objects.log_actions(request.user.pk, tasks, flag, message)

    # ── one task ─────────────────────────────────────────────────────────────────────────────────

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.again)
        return [path("<path:object_id>/again/", view, name=self._page_name("again")), *super().get_urls()]

    def _page_name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page behind the button "Run again"."""
        if not self.has_resubmit_permission(request) or not self.has_view_permission(request):
            raise PermissionDenied
        task = self.get_object(request, object_id)
        if task is None:
            raise Http404
        if confirmed(request):
            self.resubmit(request, self.get_queryset(request).filter(pk=task.pk))
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{self._page_name('changelist')}"))
        question = gettext("Run this task again?")
        button = gettext("Run again")
        return ask(request, self, question=question, concerned=[f"{task}: {task.func}"], button=button, dangerous=False)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "may_run_again": self.has_resubmit_permission(request)}
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description=_("status"), ordering="status")
    def shown_status(self, task: Task) -> SafeString:
        return ending(task)

    @admin.display(description=_("time taken"))
    def time_taken(self, task: Task) -> str:
        return seconds(task.time_taken())

    @admin.display(description=_("run time"))
    def run_time(self, task: Task) -> str:
        return seconds(task.run_time)

    @admin.display(description=_("arguments"))
    def shown_args(self, task: Task) -> SafeString:
        return shown(lambda: task.args)

    @admin.display(description=_("keyword arguments"))
    def shown_kwargs(self, task: Task) -> SafeString:
        return shown(lambda: task.kwargs)

    @admin.display(description=_("options"))
    def shown_options(self, task: Task) -> SafeString:
        return shown(lambda: task.options) if task.options else as_text(None)

    @admin.display(description=_("what happened"))
    def shown_course(self, task: Task) -> SafeString:
        return timeline(task)


@admin.register(Success)
class SuccessAdmin(EndedTaskAdmin):
    list_display = ENDED_COLUMNS
    list_filter = ("stopped_at", ClusterFilter, FunctionFilter, GroupFilter)
    fieldsets = (
        (None, {"fields": (*CALL, "shown_result")}),
        (_("Course"), {"fields": ("shown_course", *COURSE)}),
    )

    @admin.display(description=_("result"))
    def shown_result(self, task: Task) -> SafeString:
        return shown(lambda: task.result)


@admin.register(Failure)
class FailureAdmin(EndedTaskAdmin):
    list_display = ("name", "shown_status", "error_beginning", "attempt_count", *ENDED_COLUMNS[1:])
    list_filter = (StatusFilter, "stopped_at", ClusterFilter, FunctionFilter, GroupFilter)
    fieldsets = (
        (None, {"fields": ("shown_status", *CALL)}),
        (_("Error"), {"fields": ("error_kind", "shown_message", "shown_traceback", "shown_payload")}),
        (_("Course"), {"fields": ("shown_course", *COURSE)}),
    )

    def run_again(self, task: Task) -> None:
        """The new run takes the place of the failure, as ever in Django-Q.

        Sent first and deleted second: a kill between the two leaves one too many, and loses nothing. What was
        put aside with its message goes back to its queue as it came, and keeps its row.
        """
        from django_cluster.tasks import requeue

        if not task.final:
            raise ClusterError(gettext("This task will be tried again by itself."))
        if task.payload:
            requeue(task)
            return
        super().run_again(task)
        type(task).objects.using(task._state.db).filter(pk=task.pk).delete()

    @admin.display(description=_("error"))
    def error_beginning(self, task: Any) -> str:
        return str(task.error_beginning)

    @admin.display(description=_("error"))
    def shown_message(self, task: Task) -> SafeString:
        return as_text(task.error_message)

    @admin.display(description=_("traceback"))
    def shown_traceback(self, task: Task) -> SafeString:
        return as_text(task.error_traceback)

    @admin.display(description=_("payload"))
    def shown_payload(self, task: Task) -> SafeString:
        return as_text(task.payload)


def _in_portions(rows: models.QuerySet[Any], keys: list[str], size: int = 100) -> Iterable[Any]:
    """Whole rows, arguments included, without having all of them in memory."""
    for start in range(0, len(keys), size):
        found = rows.in_bulk(keys[start : start + size])
        yield from (found[key] for key in keys[start : start + size] if key in found)


def _rest_is_left() -> str:
    return gettext("More than %(count)d were selected; the rest was left alone.") % {"count": ACT_AT_MOST}
