"""The admin's pages: what succeeded, what failed, what is scheduled, what waits.

Lists load no sealed bytes and open nothing. Only the page of one task opens its arguments and its result,
after their signature was verified, and says so in a sentence when they can no longer be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.db.models.functions import Left
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_cluster.conf import load_settings
from django_cluster.core.codec import peek_header
from django_cluster.core.messages import TaskHeader
from django_cluster.errors import ClusterError, PackageError
from django_cluster.models import Failure, QueuedTask, Schedule, Success, Task

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]  # generic for type checkers only
else:
    ModelAdmin = admin.ModelAdmin

NOTHING = "-"
MAX_SHOWN = 20_000
"""Characters of a value that a page shows."""
RECENT = 1000
"""Rows among which a filter looks for its choices: the whole table could be millions."""

NOT_IN_LISTS = ("sealed_arguments", "sealed_result", "error_message", "error_traceback", "attempts", "payload")

CALL = ("id", "name", "func", "shown_args", "shown_kwargs", "group", "cluster", "hook")
COURSE = (
    *("attempt_count", "worker", "enqueued_at", "started_at", "stopped_at", "time_taken", "run_time"),
    "shown_attempts",
)
ENDED_COLUMNS = ("name", "group", "func", "cluster", "enqueued_at", "stopped_at", "time_taken")


# ── how things are shown ─────────────────────────────────────────────────────────────────────────


def shown(read: Callable[[], object]) -> SafeString:
    """The value that ``read`` opens, as Python would write it, or a sentence about why not."""
    try:
        return as_text(repr(read()))
    except PackageError as error:
        return format_html("<em>{} {}</em>", gettext("This value can no longer be read."), error)
    except Exception as error:  # noqa: BLE001  __repr__ is anybody's code, and must not break a page
        return format_html("<em>{} {}</em>", gettext("This value cannot be shown:"), type(error).__name__)


def as_text(text: str | None) -> SafeString:
    """Text with its line ends; of a very long one the beginning."""
    if not text:
        return SafeString(NOTHING)
    more = f"\n… {len(text) - MAX_SHOWN}" if len(text) > MAX_SHOWN else ""
    return format_html('<pre class="django-cluster">{}{}</pre>', text[:MAX_SHOWN], more)


def seconds(value: float) -> str:
    return f"{value:.3f} s"


def moment(unix_time: float) -> datetime:
    """For Django's own formatting: aware where its clock is."""
    value = datetime.fromtimestamp(unix_time, timezone.get_default_timezone())
    return value if timezone.is_aware(timezone.now()) else value.replace(tzinfo=None)


def rows_of(rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
    """The rows in the database that ``Q_CLUSTER`` names, or where the router reads them."""
    return rows.using(load_settings().results.database)


class RecentValuesFilter(admin.SimpleListFilter):
    """The values that a column has in the newest rows, and not a ``DISTINCT`` over a whole table."""

    newest = "-stopped_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        rows = model_admin.get_queryset(request).order_by(self.newest).values_list(self.parameter_name, flat=True)
        return [(value, value) for value in sorted({value for value in rows[:RECENT] if value})]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class GroupFilter(RecentValuesFilter):
    title, parameter_name = _("group"), "group"


class ClusterFilter(RecentValuesFilter):
    title, parameter_name = _("cluster"), "cluster"


class QueueFilter(RecentValuesFilter):
    title, parameter_name, newest = _("queue"), "queue", "-pk"


# ── what may be done ─────────────────────────────────────────────────────────────────────────────


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the cluster writes: to be looked at and deleted, never added or changed."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EndedTaskList(ChangeList):
    """The list of ended tasks, without what only the page of one task shows."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        rows = rows.defer(*NOT_IN_LISTS).annotate(error_beginning=Left("error_message", 100))
        return rows


class EndedTaskAdmin(ReadOnlyAdmin):
    """What successes and failures have in common."""

    search_fields = ("=id", "name", "func", "group")
    ordering = ("-stopped_at",)
    actions = ("resubmit",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EndedTaskList

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return rows_of(super().get_queryset(request))

    def has_resubmit_permission(self, request: HttpRequest) -> bool:
        """To run code again takes more than to look: the right to change such tasks."""
        return super(ReadOnlyAdmin, self).has_change_permission(request)

    @admin.action(description=_("Run the selected tasks again"), permissions=["resubmit"])
    def resubmit(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        done = 0
        for task in queryset.iterator(chunk_size=100):
            try:
                self.run_again(task)
                done += 1
            except ClusterError as error:
                self.message_user(request, f"{task}: {error}", messages.ERROR)
        if done:
            self.message_user(request, _("%(count)d tasks were sent again.") % {"count": done}, messages.SUCCESS)

    def run_again(self, task: Task) -> None:
        from django_cluster.tasks import resubmit  # the public face: it loads what a list does not need

        resubmit(task)

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

    @admin.display(description=_("earlier attempts"))
    def shown_attempts(self, task: Task) -> SafeString:
        line = "<li>{number}. {stopped} {worker}: {status}. {kind}: {message}</li>"
        rows = ({**each, "stopped": f"{moment(each['stopped']):%Y-%m-%d %H:%M:%S}"} for each in task.attempts or ())
        return format_html_join("", line, rows) or SafeString(NOTHING)


@admin.register(Success)
class SuccessAdmin(EndedTaskAdmin):
    list_display = ENDED_COLUMNS
    list_filter = ("stopped_at", ClusterFilter, GroupFilter)
    fieldsets = (
        (None, {"fields": (*CALL, "shown_result")}),
        (_("Course"), {"fields": (*COURSE, "error_message")}),
    )

    @admin.display(description=_("result"))
    def shown_result(self, task: Task) -> SafeString:
        return shown(lambda: task.result)


@admin.register(Failure)
class FailureAdmin(EndedTaskAdmin):
    list_display = (*ENDED_COLUMNS, "status", "attempt_count", "error_beginning")
    list_filter = ("status", "stopped_at", ClusterFilter, GroupFilter)
    fieldsets = (
        (None, {"fields": (*CALL, "status", "final")}),
        (_("Error"), {"fields": ("error_kind", "shown_message", "shown_traceback", "shown_payload")}),
        (_("Course"), {"fields": COURSE}),
    )

    def run_again(self, task: Task) -> None:
        """The new run takes the place of the failure, as ever in Django-Q."""
        if not task.final:
            raise ClusterError(gettext("This task will be tried again by itself."))
        super().run_again(task)
        task.delete()

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


# ── what is scheduled ────────────────────────────────────────────────────────────────────────────


@admin.register(Schedule)
class ScheduleAdmin(ModelAdmin):
    list_display = (
        *("id", "name", "func", "schedule_type", "repeats", "cluster", "next_run", "enabled", "last_task"),
        "last_success",
    )
    list_display_links = ("id", "name")
    list_filter = ("enabled", "next_run", "schedule_type")
    search_fields = ("name", "func")
    readonly_fields = ("last_error",)
    show_full_result_count = False

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


# ── what waits ───────────────────────────────────────────────────────────────────────────────────


@admin.register(QueuedTask)
class QueuedTaskAdmin(ReadOnlyAdmin):
    """Messages of the ORM broker. Their labels are read without opening, or trusting, what they carry."""

    list_display = ("id", "queue", "task_id", "task_name", "func", "group", "due_at", "leased", "attempts")
    list_filter = ("leased", QueueFilter)
    fields = (
        *("queue", "task_id", "task_name", "func", "group", "priority", "due_at", "leased", "attempts"),
        "shown_payload",
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        broker = load_settings().broker
        alias = broker.options.get("alias") if broker.kind == "orm" else None
        return super().get_queryset(request).using(alias)

    @admin.display(description=_("task id"))
    def task_id(self, queued: Any) -> str:
        header = self._header(queued)
        return header.id if header else "*unreadable"

    @admin.display(description=_("name"))
    def task_name(self, queued: Any) -> str:
        header = self._header(queued)
        return header.name if header else NOTHING

    @admin.display(description=_("function"))
    def func(self, queued: Any) -> str:
        header = self._header(queued)
        return header.func if header else NOTHING

    @admin.display(description=_("group"))
    def group(self, queued: Any) -> str:
        header = self._header(queued)
        return (header and header.options.group) or NOTHING

    @admin.display(description=_("due"))
    def due_at(self, queued: QueuedTask) -> datetime:
        return moment(queued.due / 1_000_000)

    @admin.display(description=_("payload"))
    def shown_payload(self, queued: QueuedTask) -> SafeString:
        return as_text(queued.payload)

    def _header(self, queued: Any) -> TaskHeader | None:
        """Four columns ask for it, and it is read once."""
        if not hasattr(queued, "peeked_header"):
            try:
                queued.peeked_header = peek_header(queued.payload)
            except PackageError:
                queued.peeked_header = None
        header: TaskHeader | None = queued.peeked_header
        return header
