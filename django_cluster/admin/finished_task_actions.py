"""The actions on finished tasks: retry, delete and export. Each has its own permission."""

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

from django_cluster.admin.base import MAX_ROWS_PER_ACTION, ReadOnlyAdmin, may
from django_cluster.admin.confirmation import confirmation_page, is_confirmed
from django_cluster.admin.export import download
from django_cluster.admin.search import MAX_LISTED
from django_cluster.errors import ClusterError
from django_cluster.models import Task

DELETE_BATCH_SIZE = 500
MAX_SENT_IN_REQUEST = 100
"""Tasks that a request sends again by itself; more are sent by a task."""


class FinishedTaskActions(ReadOnlyAdmin):
    """The actions of the lists, and the button on the page of one task."""

    actions = ["retry", "delete_selected", "export_csv", "export_jsonl"]
    change_form_template = "admin/django_cluster/finished_task.html"

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether the user may retry tasks; to view them is not enough."""
        return may(request, "retry_task")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return may(request, "export_task")

    @admin.action(description=_("Retry the selected tasks"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> TemplateResponse | None:
        """Retry the selected tasks after a confirmation that lists the functions; many of them in a task of its
        own.
        """
        chosen = list(queryset.only("pk", "name", "func")[: MAX_ROWS_PER_ACTION + 1])
        tasks = chosen[:MAX_ROWS_PER_ACTION]
        if not is_confirmed(request):
            text = ngettext("Retry %(count)d task?", "Retry %(count)d tasks?", len(tasks))
            return confirmation_page(
                request,
                self,
                question=text % {"count": len(tasks)},
                warning=gettext("These functions will run again, with all their effects."),
                concerned=_functions(tasks),
                button=gettext("Retry"),
                dangerous=False,
            )
        self._note(request, tasks, CHANGE, "Retried.")
        self._send_again(request, [task.pk for task in tasks], queryset.db)
        if len(chosen) > MAX_ROWS_PER_ACTION:
            self.message_user(request, _rest_is_left(), messages.WARNING)
        return None

    def _send_again(self, request: HttpRequest, keys: list[str], database: str, *, again: bool = False) -> None:
        # The public face: it loads what a list does not need.
        from django_cluster.client.enqueue import async_task
        from django_cluster.client.retries import retry_in_background, retry_many

        if len(keys) > MAX_SENT_IN_REQUEST:
            options = {"task_name": f"retry of {len(keys)} tasks", "on_commit": False}
            try:
                async_task(retry_in_background, keys, database, q_options=options)
            except ClusterError as refused:
                self.message_user(request, str(refused), messages.ERROR)
                return
            text = gettext("%(count)d tasks will be retried by the next free worker.")
            self.message_user(request, text % {"count": len(keys)}, messages.SUCCESS)
            return
        report = retry_many(keys, database, again=again)
        for error in report.errors:
            self.message_user(request, error, messages.ERROR)
        if report.retried_before:
            text = ngettext(
                "%(count)d task was skipped: it was retried before.",
                "%(count)d tasks were skipped: they were retried before.",
                report.retried_before,
            )
            self.message_user(request, text % {"count": report.retried_before}, messages.WARNING)
        if report.sent:
            text = ngettext("%(count)d task was retried.", "%(count)d tasks were retried.", report.sent)
            self.message_user(request, text % {"count": report.sent}, messages.SUCCESS)

    @admin.action(description=_("Delete the selected tasks"), permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> TemplateResponse | None:
        """Delete the selected tasks. Django's own action would read every row with its signed bytes."""
        chosen = list(queryset.only("pk", "name")[:MAX_LISTED])
        if not is_confirmed(request):
            text = ngettext("Delete %(count)d task?", "Delete %(count)d tasks?", len(chosen))
            question = text % {"count": len(chosen)}
            return confirmation_page(request, self, question=question, concerned=chosen, button=gettext("Delete"))
        self._note(request, chosen, DELETION, "")
        rows = queryset.model.objects.using(queryset.db)
        for start in range(0, len(chosen), DELETE_BATCH_SIZE):
            rows.filter(pk__in=[task.pk for task in chosen[start : start + DELETE_BATCH_SIZE]]).delete()
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
        """Record the action in Django's log of the admin."""
        if tasks and request.user.pk is not None:
            LogEntry.objects.log_actions(request.user.pk, tasks, flag, message)

    # ── one task ─────────────────────────────────────────────────────────────────────────────────

    def own_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.retry_view)
        return [path("<path:object_id>/retry/", view, name=self._page_name("retry"))]

    def _page_name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page behind the button *Retry*."""
        if not self.has_retry_permission(request) or not self.has_view_permission(request):
            raise PermissionDenied
        task = self.get_object(request, object_id)
        if task is None:
            raise Http404
        if is_confirmed(request):
            self._note(request, [task], CHANGE, "Retried.")
            self._send_again(request, [task.pk], self.get_queryset(request).db, again=True)
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{self._page_name('change')}", args=(task.pk,)))
        question = gettext("Retry this task?")
        if task.retried_as:
            question += " " + gettext("It was retried before, as task %(id)s.") % {"id": task.retried_as}
        button = gettext("Retry")
        return confirmation_page(
            request, self, question=question, concerned=[f"{task}: {task.func}"], button=button, dangerous=False
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "may_retry": self.has_retry_permission(request)}
        return super().change_view(request, object_id, form_url, context)


def _functions(tasks: Iterable[Task]) -> list[str]:
    """Which functions the tasks call, and how often, the most frequent first."""
    return [f"{func}: {count}" for func, count in Counter(task.func for task in tasks).most_common()]


def _rest_is_left() -> str:
    return gettext("More than %(count)d were selected; the rest was skipped.") % {"count": MAX_ROWS_PER_ACTION}
