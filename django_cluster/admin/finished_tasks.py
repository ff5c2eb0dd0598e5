"""The pages of successful and failed tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from django_cluster.admin.base import in_database
from django_cluster.admin.finished_task_actions import FinishedTaskActions
from django_cluster.admin.formatting import (
    MAX_CHARACTERS,
    NOTHING,
    STATUS_LABELS,
    ago,
    as_text,
    function_path,
    hidden,
    may_be_shown,
    number,
    seconds,
    short_status,
    shown,
    shown_args,
    shown_payload,
    shown_value,
    status_badges,
    timeline,
    times,
    truncated,
    with_zone,
    without_links,
)
from django_cluster.admin.search import (
    HELP,
    CappedChangeList,
    CappedPaginator,
    ErrorKindFilter,
    FinishedFilter,
    FunctionFilter,
    GroupFilter,
    QueueOfTaskFilter,
    RecentValuesFilter,
    ScopeFilter,
    SearchScope,
    search,
)
from django_cluster.admin.tracebacks import folded
from django_cluster.core.post_mortem import PostMortem
from django_cluster.core.redaction import redactor
from django_cluster.dashboard.post_mortem import MAX_SAME_KIND, facts_of, variable_lines
from django_cluster.models import Failure, Success, Task

DEFERRED_IN_LISTS = (
    *("sealed_arguments", "sealed_result", "error_message", "error_traceback", "attempts", "payload", "options"),
    "post_mortem_data",
)
CALL = ("linked_func", "shown_args", "shown_kwargs")
DETAILS = (
    *(
        "id",
        "name",
        "shown_group",
        "shown_correlation",
        "shown_queue",
        "worker",
        "hook",
        "shown_retried_as",
        "shown_options",
    ),
    *("exact_enqueued", "exact_started", "exact_finished", "shown_payload"),
)
HIDDEN_IF_EMPTY = {
    **{"shown_group": "group", "shown_queue": "queue", "worker": "worker", "hook": "hook"},
    **{"shown_retried_as": "retried_as", "shown_options": "options", "shown_payload": "payload"},
    **{"shown_traceback": "error_traceback", "shown_message": "error_kind", "shown_same_kind": "fingerprint"},
    **dict.fromkeys(("shown_facts", "shown_variables", "shown_log"), "post_mortem_data"),
}
"""Fields of the page of a task → the column without which they say nothing."""
FACT_LABELS = {
    "exit code": _("exit code"),
    "queries": _("queries"),
    "run time": _("run time"),
    "processor time": _("processor time"),
    "peak memory": _("peak memory"),
    "host": _("host"),
    "revision": _("revision"),
    "versions": _("versions"),
}
"""Names of what is measured of a failed run → as the page writes them."""
ERROR_PREVIEW = 100
"""Characters of an error that a list shows."""
ERROR_READ = ERROR_PREVIEW + 500
"""Characters that are read for it: of a credential that was cut in two, its beginning could not be told."""


class FinishedTaskList(CappedChangeList):
    """A list of finished tasks without the columns that only the page of one task shows."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        rows = rows.defer(*DEFERRED_IN_LISTS).annotate(error_beginning=Left("error_message", ERROR_READ))
        return rows


class StatusFilter(RecentValuesFilter):
    """A filter by all statuses of failures, whatever the newest rows are."""

    title, parameter_name = _("status"), "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(status, word) for status, word in STATUS_LABELS.items() if status != "success"]


class FinishedTaskAdmin(FinishedTaskActions):
    """The base of the pages of successful and of failed tasks."""

    search_fields = ("name",)  # shows the field; what it means, get_search_results says
    ordering = ("-stopped_at",)
    sortable_by = ("finished",)
    paginator = CappedPaginator
    list_max_show_all = 0
    change_list_template = "admin/django_cluster/finished_task_list.html"

    # ── finding ──────────────────────────────────────────────────────────────────────────────────

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FinishedTaskList]:
        return FinishedTaskList

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return in_database(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        if tuple(self.search_fields) != FinishedTaskAdmin.search_fields:  # a subclass means its own
            return super().get_search_results(request, queryset, search_term)
        scope = SearchScope.of(request)
        return (search(queryset, search_term, scope) if search_term.strip() else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "search_hint": HELP})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets without the fields that are empty for this task."""
        empty = {name for name, column in HIDDEN_IF_EMPTY.items() if obj is not None and not getattr(obj, column)}
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in empty]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    # ── columns ──────────────────────────────────────────────────────────────────────────────────

    @admin.display(description=_("function"))
    def shown_func(self, task: Task) -> SafeString:
        return function_path(task.func)

    @admin.display(description=_("name"))
    def shown_name(self, task: Task) -> SafeString:
        return truncated(task.name or task.id)

    @admin.display(description=_("finished"), ordering="stopped_at")
    def finished(self, task: Task) -> SafeString:
        return ago(task.stopped_at)

    # Django-Q's names, for the lists of subclasses.

    @admin.display(description=_("run time"))
    def time_taken(self, task: Task) -> str:
        """From being enqueued to its end."""
        return seconds(task.time_taken())

    @admin.display(description=_("runs"))
    def runs(self, task: Task) -> int:
        return task.attempt_count

    @admin.display(description=_("waited"))
    def waited(self, task: Task) -> str:
        return seconds((task.started_at - task.enqueued_at).total_seconds())

    @admin.display(description=_("group"))
    def shown_group(self, task: Task) -> SafeString:
        return self._filter("group", task.group)

    @admin.display(description=_("correlation id"))
    def shown_correlation(self, task: Task) -> SafeString:
        """A link to the rows of this list with the same correlation id."""
        return self._filter("q", f'correlation:"{task.correlation_id}"', str(task.correlation_id))

    @admin.display(description=_("queue"))
    def shown_queue(self, task: Task) -> SafeString:
        return self._filter("queue", task.queue)

    def _filter(self, name: str, value: str | None, text: str | None = None) -> SafeString:
        """A link to the rows of this list that have the same value."""
        if not value:
            return SafeString(NOTHING)
        url = reverse(f"{self.admin_site.name}:{self._page_name('changelist')}")
        return format_html('<a href="{}?{}">{}</a>', url, urlencode({name: value}), text or value)

    # ── fields ───────────────────────────────────────────────────────────────────────────────────

    @admin.display(description=_("function"))
    def linked_func(self, task: Task) -> SafeString:
        return self._filter("func", task.func, function_path(task.func))

    @admin.display(description=_("status"))
    def shown_outcome(self, task: Task) -> SafeString:
        """How and when the task ended, which run this was, and how long it waited and ran."""
        return format_html(
            '{} <span class="dc-facts">{} · {}</span>', status_badges(task), ago(task.stopped_at), times(task)
        )

    @admin.display(description=_("enqueued"))
    def exact_enqueued(self, task: Task) -> str:
        return with_zone(task.enqueued_at)

    @admin.display(description=_("run started"))
    def exact_started(self, task: Task) -> str:
        return with_zone(task.started_at)

    @admin.display(description=_("finished"))
    def exact_finished(self, task: Task) -> str:
        return with_zone(task.stopped_at)

    @admin.display(description=_("run time"))
    def run_time(self, task: Task) -> str:
        return seconds(task.run_time)

    @admin.display(description=_("arguments"))
    def shown_args(self, task: Task) -> SafeString:
        return shown_args(task, task.func, lambda: task.args)

    @admin.display(description=_("keyword arguments"))
    def shown_kwargs(self, task: Task) -> SafeString:
        return shown_value(task, lambda: task.kwargs)

    @admin.display(description=_("options"))
    def shown_options(self, task: Task) -> SafeString:
        return shown(lambda: redactor().value(without_links(task.options))) if task.options else as_text(None)

    @admin.display(description=_("retried as"))
    def shown_retried_as(self, task: Task) -> SafeString:
        """The new task, as a link once it has ended."""
        if not task.retried_as:
            return as_text(None)
        found = in_database(Task.objects.all()).filter(pk=task.retried_as).values_list("success", flat=True).first()
        if found is None:
            return format_html("{}", task.retried_as)
        page = f"{self.admin_site.name}:{self.opts.app_label}_{'success' if found else 'failure'}_change"
        return format_html('<a href="{}">{}</a>', reverse(page, args=(task.retried_as,)), task.retried_as)

    @admin.display(description=_("payload"))
    def shown_payload(self, task: Task) -> SafeString:
        return shown_payload(task, task.payload)

    @admin.display(description=_("timeline"))
    def shown_course(self, task: Task) -> SafeString:
        return timeline(task)


@admin.register(Success)
class SuccessAdmin(FinishedTaskAdmin):
    list_display = ("shown_func", "finished", "run_time", "waited", "shown_name", "shown_group", "shown_queue")
    list_filter = (FinishedFilter, FunctionFilter, QueueOfTaskFilter, GroupFilter, ScopeFilter)
    fieldsets = (
        (None, {"fields": (*CALL, "shown_outcome", "shown_result")}),
        (None, {"fields": ("shown_course",)}),
        (_("Details"), {"fields": DETAILS}),
    )

    @admin.display(description=_("result"))
    def shown_result(self, task: Task) -> SafeString:
        return shown_value(task, lambda: task.result)


@admin.register(Failure)
class FailureAdmin(FinishedTaskAdmin):
    list_display = (
        *("shown_func", "error_beginning", "status_in_list", "finished", "runs"),
        *("shown_name", "shown_group", "shown_queue"),
    )
    list_filter = (
        *(FinishedFilter, StatusFilter, ErrorKindFilter, FunctionFilter, QueueOfTaskFilter, GroupFilter),
        ScopeFilter,
    )
    fieldsets = (
        (None, {"fields": (*CALL, "shown_outcome", "shown_message", "shown_traceback")}),
        (_("Post-mortem"), {"fields": ("shown_same_kind", "shown_facts", "shown_variables", "shown_log")}),
        (None, {"fields": ("shown_course",)}),
        (_("Details"), {"fields": DETAILS}),
    )

    @admin.display(description=_("function"))
    def shown_func(self, task: Task) -> SafeString:
        """The function, with the status below it for narrow screens, which hide its column."""
        return format_html('{} <span class="dc-phone">{}</span>', function_path(task.func), short_status(task))

    @admin.display(description=_("error"))
    def error_beginning(self, task: Any) -> SafeString:
        """The beginning of the error, after the last name of its class."""
        text = Truncator(redactor().text(task.error_beginning)).chars(ERROR_PREVIEW)
        return truncated(": ".join(part for part in (task.error_kind.rpartition(".")[2], text) if part))

    @admin.display(description=_("error"))
    def short_result(self, task: Any) -> SafeString:
        """Django-Q's name of the beginning of the error, for the lists of subclasses."""
        return self.error_beginning(task)

    @admin.display(description=_("status"))
    def status_in_list(self, task: Task) -> SafeString:
        return short_status(task)

    @admin.display(description=_("error"))
    def shown_message(self, task: Task) -> SafeString:
        message = redactor().text(task.error_message)
        return as_text(": ".join(part for part in (task.error_kind, message) if part))

    @admin.display(description=_("failures of this kind"))
    def shown_same_kind(self, task: Task) -> SafeString:
        """How many there are, with a link to their list."""
        count = task.same_kind()[:MAX_SAME_KIND].count()
        return self._filter("fingerprint", task.fingerprint, number(count, more=count == MAX_SAME_KIND))

    @admin.display(description=_("resources and place"))
    def shown_facts(self, task: Task) -> SafeString:
        found = task.post_mortem
        return as_text(
            "\n".join(f"{FACT_LABELS.get(name, name)}: {text}" for name, text in facts_of(found)) if found else None
        )

    @admin.display(description=_("variables"))
    def shown_variables(self, task: Task) -> SafeString:
        return self._lines(task, lambda found: variable_lines(found))

    @admin.display(description=_("log of the run"))
    def shown_log(self, task: Task) -> SafeString:
        return self._lines(task, lambda found: found.log_lines)

    def _lines(self, task: Task, lines_of: Callable[[PostMortem], Iterable[str]]) -> SafeString:
        """Lines that may quote arguments: masked, and only for those who may see arguments."""
        if not may_be_shown(task):
            return hidden()
        found = task.post_mortem
        return as_text("\n".join(redactor().text(line) for line in lines_of(found)) if found else None)

    @admin.display(description=_("traceback"))
    def shown_traceback(self, task: Task) -> SafeString:
        text = redactor().traceback(task.error_traceback)
        return as_text(text) if len(text) > MAX_CHARACTERS else folded(text)
