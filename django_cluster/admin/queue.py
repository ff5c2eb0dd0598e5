"""The queued tasks: the rows of the database broker as a list, all other brokers by ``queue_inspector``.

Lists read headers without opening, or trusting, the messages. The page of one task opens its message if the signature
is valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_cluster.admin.confirmation import is_confirmed
from django_cluster.admin.formatting import (
    NOTHING,
    badge,
    function_path,
    moment_text,
    shown,
    shown_args,
    shown_payload,
    shown_value,
    without_links,
)
from django_cluster.admin.queue_inspector import QueueInspectorAdmin
from django_cluster.admin.queue_reader import open_package, unverified_header
from django_cluster.admin.search import MAX_LISTED, CappedChangeList, CappedPaginator, RecentValuesFilter, ScopeFilter
from django_cluster.brokers import open_broker, shipped_kind
from django_cluster.conf import load_settings
from django_cluster.control import cancel_in
from django_cluster.core.messages import TaskHeader
from django_cluster.core.queue_names import DELAY_QUEUE_PREFIX, parse_queue_name
from django_cluster.core.redaction import redactor
from django_cluster.core.time import from_unix_time
from django_cluster.models import QueuedTask

UNREADABLE = "*unreadable"


class QueueFilter(RecentValuesFilter):
    title, parameter_name, newest_first, indexed = _("queue"), "queue", "-pk", True


class AllRowsFilter(ScopeFilter):
    """Keeps ``rows=all`` in the address from one page of the list to the next."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return []


@admin.register(QueuedTask)
class QueuedTaskAdmin(QueueInspectorAdmin):
    """The page of queued tasks. Cancelling goes through the broker, which does not touch leased messages."""

    list_display = ("shown_func", "shown_state", "due_at", "task_name", "group", "queue", "attempts")
    list_filter = ("leased", QueueFilter, AllRowsFilter)
    fields = (
        *("shown_func", "shown_args", "shown_kwargs", "shown_state", "queue", "task_name", "task_id", "group"),
        *("shown_due", "priority", "attempts", "shown_options", "shown_payload"),
    )
    ordering = ("id",)
    sortable_by = ("id",)
    paginator = CappedPaginator
    list_max_show_all = 0
    actions = ["cancel"]
    change_list_template = "admin/django_cluster/finished_task_list.html"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        broker = load_settings().broker
        alias = broker.options.get("alias") if shipped_kind(broker) == "orm" else None
        return super().get_queryset(request).using(alias)

    def get_list_filter(self, request: HttpRequest) -> Any:
        """The filters, with the one that keeps the list where a subclass has others."""
        filters = list(super().get_list_filter(request))
        return filters if AllRowsFilter in filters else [*filters, AllRowsFilter]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CappedChangeList]:
        return CappedChangeList

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """To delete the row of a running task would not stop it, and would lose it if its worker died."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The page of queues; with ``rows=all``, where the queue is a table, the list of its rows."""
        leafs = request.GET.get(ScopeFilter.parameter_name) == ScopeFilter.ALL or "action" in request.POST
        if shipped_kind(load_settings().broker) == "orm" and leafs:
            return super().changelist_view(request, extra_context)
        return self.inspector_view(request)

    @admin.action(description=_("Cancel the selected tasks"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        rows = list(queryset[:MAX_LISTED])
        if not is_confirmed(request):
            return self.confirm_cancel(request, [f"{self.task_name(row)}: {self.func(row)}" for row in rows])
        keys: dict[str, list[str]] = {}
        for row in rows:
            keys.setdefault(row.queue, []).append(str(row.pk))
        section = load_settings().broker
        done = 0
        for place, ids in keys.items():
            # A delay queue is known by its name in the table, a queue of ours by its own.
            queue = place if place.startswith(DELAY_QUEUE_PREFIX) else parse_queue_name(place)
            done += cancel_in(open_broker(replace(section, queue=queue)), ids, by=request.user.get_username())
        self.report_cancelled(request, done, len(rows))
        return None

    # ── columns ──────────────────────────────────────────────────────────────────────────────────

    @admin.display(description=_("task id"))
    def task_id(self, queued: Any) -> str:
        header = self._header(queued)
        return header.id if header else UNREADABLE

    @admin.display(description=_("name"))
    def task_name(self, queued: Any) -> str:
        header = self._header(queued)
        return header.name if header else NOTHING

    @admin.display(description=_("function"))
    def shown_func(self, queued: Any) -> SafeString:
        return function_path(self.func(queued))

    def func(self, queued: Any) -> str:
        header = self._header(queued)
        return header.func if header else NOTHING

    @admin.display(description=_("group"))
    def group(self, queued: Any) -> str:
        header = self._header(queued)
        return (header and header.options.group) or NOTHING

    @admin.display(description=_("options"))
    def shown_options(self, queued: Any) -> SafeString:
        header = self._header(queued)
        options = header.options.to_wire() if header else {}
        return shown(lambda: redactor().value(without_links(options))) if options else SafeString(NOTHING)

    @admin.display(description=_("due"), ordering="due")
    def due_at(self, queued: QueuedTask) -> datetime:
        return from_unix_time(queued.due / 1_000_000)

    @admin.display(description=_("due"))
    def shown_due(self, queued: QueuedTask) -> str:
        return moment_text(self.due_at(queued))

    @admin.display(description=_("arguments"))
    def shown_args(self, queued: QueuedTask) -> SafeString:
        return shown_args(queued, self.func(queued), lambda: open_package(queued.key, queued.payload).args)

    @admin.display(description=_("keyword arguments"))
    def shown_kwargs(self, queued: QueuedTask) -> SafeString:
        return shown_value(queued, lambda: dict(open_package(queued.key, queued.payload).kwargs))

    @admin.display(description=_("state"))
    def shown_state(self, queued: QueuedTask) -> SafeString:
        if queued.leased:
            return badge("leased", gettext("leased"))
        return (
            badge("delayed", gettext("delayed"))
            if queued.lane == queued.NOT_READY_LANE
            else badge("ready", gettext("ready"))
        )

    @admin.display(description=_("payload"))
    def shown_payload(self, queued: QueuedTask) -> SafeString:
        return shown_payload(queued, queued.payload)

    def _header(self, queued: Any) -> TaskHeader | None:
        """Five columns ask for it, and it is read once."""
        if not hasattr(queued, "peeked_header"):
            queued.peeked_header = unverified_header(queued.payload)
        header: TaskHeader | None = queued.peeked_header
        return header
