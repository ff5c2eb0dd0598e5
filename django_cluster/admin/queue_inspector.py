"""The page of queues: what each broker holds, the first messages of one queue, and their cancellation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from django_cluster.admin.base import VIEW_ARGUMENTS, ReadOnlyAdmin, may
from django_cluster.admin.confirmation import confirmation_page, is_confirmed
from django_cluster.admin.queue_reader import QueueContent, QueueInspector, broker_of, find_message, is_listed_table
from django_cluster.control import cancel_in
from django_cluster.errors import BrokerError


class QueueInspectorAdmin(ReadOnlyAdmin):
    """The page of queues, and the cancellation of queued tasks."""

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return may(request, "cancel_task")

    def inspector_view(self, request: HttpRequest) -> HttpResponse:
        """The page with all queues and the messages of one of them, on any broker."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        queues = QueueInspector()
        queue = request.GET.get("queue", "")
        queue = queue if queue in queues.names else queues.names[0]
        if request.method == "POST":
            return self._cancel_listed(request, queues, queue)
        content = queues.content(queue, lambda key: self.page_of(queue, key))
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "queues": queues.lines(),
            "problem": queues.problem,
            "content": content,
            "is_table": is_listed_table(broker_of(queue)),
            "may_cancel": content.can_cancel and self.has_cancel_permission(request),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/django_cluster/queue.html", context)

    def page_of(self, queue: str, key: str) -> str:
        """The URL of one message: a row has its number, any other message its queue and its key."""
        name = key if is_listed_table(broker_of(queue)) else urlencode({"queue": queue, "key": key})
        return reverse(f"{self.admin_site.name}:django_cluster_queuedtask_change", args=(quote(name),))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return a row, or a message of another broker as a row that is never saved."""
        if object_id.isdecimal():
            return super().get_object(request, object_id, from_field)
        names = dict(parse_qsl(object_id))
        row = find_message(names.get("queue", ""), names.get("key", ""))
        if row is not None:
            row.arguments_visible = may(request, VIEW_ARGUMENTS)  # type: ignore[attr-defined]
        return row

    def _cancel_listed(self, request: HttpRequest, queues: QueueInspector, queue: str) -> HttpResponse:
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if keys and not is_confirmed(request):
            return self.confirm_cancel(request, _named(queues.content(queue, lambda key: ""), keys))
        if not keys:
            self.message_user(request, gettext("No task was selected."), messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())
        try:
            self.report_cancelled(request, cancel_in(broker_of(queue), keys, by=request.user.get_username()), len(keys))
        except BrokerError as error:
            self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def confirm_cancel(self, request: HttpRequest, concerned: Sequence[str]) -> HttpResponse:
        text = ngettext(
            "Cancel %(count)d task, so that it never runs?",
            "Cancel %(count)d tasks, so that they never run?",
            len(concerned),
        )
        question = text % {"count": len(concerned)}
        return confirmation_page(request, self, question=question, concerned=concerned, button=gettext("Cancel tasks"))

    def report_cancelled(self, request: HttpRequest, done: int, asked: int) -> None:
        text = ngettext("%(count)d task was cancelled.", "%(count)d tasks were cancelled.", done) % {"count": done}
        self.message_user(request, text, messages.SUCCESS if done else messages.WARNING)
        if done < asked:
            self.message_user(request, gettext("The others were already running or finished."), messages.WARNING)


def _named(content: QueueContent, keys: Sequence[str]) -> list[str]:
    names: dict[str, Any] = {each.key: each.header for each in content.entries}
    return [f"{names[key].name}: {names[key].func}" if names.get(key) else key for key in keys]
