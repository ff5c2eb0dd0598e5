"""What may be done with finished tasks: run them again, delete them, export them. Each has a permission of its own."""

from __future__ import annotations

from collections import Counter
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
from django_cluster.errors import ClusterError
from django_cluster.models import Task

DELETED_AT_ONCE = 500
SENT_AT_ONCE = 100
"""Tasks that a request sends again by itself; more are sent by a task."""


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
    def resubmit(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> TemplateResponse | None:
        """After a question that says what is going to run; many of them by a task, which ends when the request has."""
        chosen = list(queryset.only("pk", "name", "func")[: ACT_AT_MOST + 1])
        tasks = chosen[:ACT_AT_MOST]
        if not confirmed(request):
            text = ngettext("Run %(count)d task again?", "Run %(count)d tasks again?", len(tasks))
            return ask(
                request,
                self,
                question=text % {"count": len(tasks)},
                warning=gettext("Whatever these functions do, they will do once more."),
                concerned=_functions(tasks),
                button=gettext("Run again"),
                dangerous=False,
            )
        self._note(request, tasks, CHANGE, "Run again.")
        self._send_again(request, [task.pk for task in tasks], queryset.db)
        if len(chosen) > ACT_AT_MOST:
            self.message_user(request, _rest_is_left(), messages.WARNING)
        return None

    def _send_again(self, request: HttpRequest, keys: list[str], database: str, *, again: bool = False) -> None:
        # The public face: it loads what a list does not need.
        from django_cluster.calls import async_task
        from django_cluster.retries import retry_in_background, retry_many

        if len(keys) > SENT_AT_ONCE:
            options = {"task_name": f"retry of {len(keys)} tasks", "on_commit": False}
            try:
                async_task(retry_in_background, keys, database, q_options=options)
            except ClusterError as refused:
                self.message_user(request, str(refused), messages.ERROR)
                return
            text = gettext("%(count)d tasks will be sent again by the next free worker.")
            self.message_user(request, text % {"count": len(keys)}, messages.SUCCESS)
            return
        report = retry_many(keys, database, again=again)
        for error in report.errors:
            self.message_user(request, error, messages.ERROR)
        if report.repeated:
            text = ngettext(
                "%(count)d task was left alone: it was retried before.",
                "%(count)d tasks were left alone: they were retried before.",
                report.repeated,
            )
            self.message_user(request, text % {"count": report.repeated}, messages.WARNING)
        if report.sent:
            text = ngettext("%(count)d task was sent again.", "%(count)d tasks were sent again.", report.sent)
            self.message_user(request, text % {"count": report.sent}, messages.SUCCESS)

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

    def own_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.again)
        return [path("<path:object_id>/again/", view, name=self._page_name("again"))]

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
            self._note(request, [task], CHANGE, "Run again.")
            self._send_again(request, [task.pk], self.get_queryset(request).db, again=True)
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{self._page_name('change')}", args=(task.pk,)))
        question = gettext("Run this task again?")
        if task.retried_as:
            question += " " + gettext("It was retried before, as task %(id)s.") % {"id": task.retried_as}
        button = gettext("Run again")
        return ask(request, self, question=question, concerned=[f"{task}: {task.func}"], button=button, dangerous=False)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "may_run_again": self.has_resubmit_permission(request)}
        return super().change_view(request, object_id, form_url, context)


def _functions(tasks: Iterable[Task]) -> list[str]:
    """Which functions they call, and how often, the most frequent first."""
    return [f"{func}: {count}" for func, count in Counter(task.func for task in tasks).most_common()]


def _rest_is_left() -> str:
    return gettext("More than %(count)d were selected; the rest was left alone.") % {"count": ACT_AT_MOST}
