"""What may be done with finished tasks: run them again, delete them, export them. Each has a permission of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_cluster.admin.base import ACT_AT_MOST, ReadOnlyAdmin, may
from django_cluster.admin.confirming import ask, confirmed
from django_cluster.admin.export import download
from django_cluster.admin.finding import LISTED
from django_cluster.models import Task

DELETED_AT_ONCE = 500


class EndedActs(ReadOnlyAdmin):
    """The actions of the lists, and the button on the page of one task."""

    actions = ("resubmit", "delete_selected", "export_csv", "export_jsonl")
    change_form_template = "admin/django_cluster/ended_page.html"

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


def _in_portions(rows: models.QuerySet[Any], keys: list[str], size: int = 100) -> Iterable[Any]:
    """Whole rows, arguments included, without having all of them in memory."""
    for start in range(0, len(keys), size):
        found = rows.in_bulk(keys[start : start + size])
        yield from (found[key] for key in keys[start : start + size] if key in found)


def _rest_is_left() -> str:
    return gettext("More than %(count)d were selected; the rest was left alone.") % {"count": ACT_AT_MOST}
