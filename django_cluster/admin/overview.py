"""The overview: what runs, waits and fails now, and its course over an hour, a day or two weeks; and the same of one
function.

All numbers of the past come from history, which one query reads; none depends on how many rows of tasks are kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext

from django_cluster.admin.base import ReadOnlyAdmin, in_database, may
from django_cluster.admin.charts import Stack, bars
from django_cluster.admin.clusters import ProcessRow, process_row
from django_cluster.admin.formatting import NOTHING, clock, number, seconds, state_badge
from django_cluster.admin.overview_charts import SHARES, bucket_rows, moment_of, quantiles, throughput, tops
from django_cluster.admin.overview_parts import (
    FailureRow,
    FunctionRow,
    OverviewQueueRow,
    ScheduleRow,
    failure_rows,
    function_rows,
    near_limit,
    queue_facts,
    schedule_rows,
    short,
)
from django_cluster.admin.queue_reader import QueueInspector
from django_cluster.conf import load_settings
from django_cluster.core.histogram import bin_start
from django_cluster.core.redaction import redactor
from django_cluster.dashboard.history.attention import OperatingFacts, Sentence, attention
from django_cluster.dashboard.history.trends import SUCCESS, WINDOWS, Trends, Window, is_failure, trends
from django_cluster.dashboard.state_labels import LATE_SECONDS, about, queue_state
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Rollup, Schedule
from django_cluster.stores import history_reader
from django_cluster.stores.history_reader import HistoryReader

PAGES = {
    "queue": "queuedtask", "clusters": "heartbeat", "schedules": "schedule", "failures": "failure", "dead": "failure",
    "successes": "success",
}  # fmt: skip
"""The list that is behind a number → its model."""
MAX_LINES = 10
"""Rows of each table."""


class Card(NamedTuple):
    """One number, what it counts, what is usual, and the list behind it (empty: no list, or no permission)."""

    label: str
    value: str
    note: str = ""
    url: str = ""
    style: str = ""


@admin.register(Rollup)
class OverviewAdmin(ReadOnlyAdmin):
    """One page for everything, and one for each function."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def own_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.function_view)
        return [path("function/", view, name="django_cluster_rollup_function")]

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:django_cluster_rollup_changelist"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = self._common(request, None)
        queues = QueueInspector()
        now, course = context["moment"], context["trends"]
        facts = queue_facts(queues, course, now)
        lost = tuple((each.host, each.age) for each in queues.clusters if not each.alive)
        alive = [each for each in queues.clusters if each.alive]
        schedules = self._schedules(request)
        known = OperatingFacts(
            queues=facts if self._sees(request, "queue") else (),
            clusters=len(alive),
            lost=lost if self._sees(request, "clusters") else (),
            near_limit=near_limit(alive) if self._sees(request, "clusters") else (),
            late_schedules=sum(row.is_late for row in schedules),
            broken_schedules=sum(row.is_broken for row in schedules),
            runs=course.total.runs,
            failed=course.total.failed,
            dead=course.total.dead,
        )
        rows = [
            OverviewQueueRow.of(each, course, state_badge(self._state(queues, each.name)), queues.size_of(each.name))
            for each in facts
        ]
        context |= {
            "title": capfirst(self.opts.verbose_name),
            "problem": queues.problem or context["problem"],
            "sentences": [(each.style, self._text(each), self._link_of(request, each)) for each in attention(known)],
            "cards": self._cards(request, rows, queues, context),
            "queues": rows if self._sees(request, "queue") else [],
            "workers": self._workers(queues, None) if self._sees(request, "clusters") else [],
            "schedules": schedules[:MAX_LINES],
        }
        return TemplateResponse(request, "admin/django_cluster/overview.html", context)

    def function_view(self, request: HttpRequest) -> HttpResponse:
        """The page of one function, which ``?func=`` names."""
        func = request.GET.get("func", "")
        context = self._common(request, func)
        course: Trends = context["trends"]
        run_times = sorted(course.total.run_times.items())
        stacks = [Stack(f"{seconds(bin_start(each))}: {number(count)}", [("calm", count)]) for each, count in run_times]
        queues = QueueInspector()
        context |= {
            "title": func,
            "problem": queues.problem or context["problem"],
            "cards": self._function_cards(request, func, course),
            "distribution": bars(stacks, gettext("Run times, from short to long")) if stacks else "",
            "shortest": seconds(bin_start(run_times[0][0])) if run_times else NOTHING,
            "longest": seconds(bin_start(run_times[-1][0] + 1)) if run_times else NOTHING,
            "workers": self._workers(queues, func) if self._sees(request, "clusters") else [],
            "schedules": self._schedules(request, func)[:MAX_LINES],
        }
        return TemplateResponse(request, "admin/django_cluster/function_history.html", context)

    # ── what both pages show ─────────────────────────────────────────────────────────────────────

    def _common(self, request: HttpRequest, func: str | None) -> dict[str, Any]:
        """The charts, the functions and the failures of a window. Raises ``PermissionDenied``."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        window = next((each for each in WINDOWS if each.name == request.GET.get("window")), WINDOWS[0])
        now, reader = time.time(), HistoryReader(load_settings().results.database)
        start, problem, is_whole = window.start(now), "", True
        before: Mapping[str, int] = {}
        try:
            rows = reader.rows(start, func=func)
            is_whole = len(rows) < history_reader.MAX_ROWS
            course = trends(rows, window, now)
            before = reader.sums(start - window.seconds, start, func=func)
        except StoreUnavailable as error:
            course, problem = trends([], window, now), redactor().text(str(error))
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "func": func,
            "moment": now,
            "now": clock(),
            "problem": problem,
            "most_rows": None if is_whole else number(history_reader.MAX_ROWS),
            "is_counted": load_settings().results.history,
            "trends": course,
            "before": before,
            "windows": [(each.name, _address(func, each), each == window) for each in WINDOWS],
            "throughput": throughput(course),
            "waits": quantiles(course, "wait", gettext("Waiting times")),
            "runs": quantiles(course, "run", gettext("Run times")),
            "tops": tops(course),
            "from": moment_of(course.start, window),
            "buckets": bucket_rows(course),
            "functions": self._functions(course),
            "failures": self._failures(request, course) if self._sees(request, "failures") else [],
        }

    def _functions(self, course: Trends) -> list[FunctionRow]:
        page = partial(self._function_page, course.window)
        return function_rows(course.functions, page, MAX_LINES)

    def _failures(self, request: HttpRequest, course: Trends) -> list[FailureRow]:
        def link(func: str, kind: str) -> str:
            return self._url(request, "failures", func=func, error_kind=kind)

        page = partial(self._function_page, course.window)
        return failure_rows(course, link, page, MAX_LINES, errors=may(request, "view_task_arguments"))

    def _function_page(self, window: Window, func: str) -> str:
        name = f"{self.admin_site.name}:django_cluster_rollup_function"
        return f"{reverse(name)}{_address(func, window)}" if func else ""

    def _cards(
        self, request: HttpRequest, rows: Sequence[OverviewQueueRow], queues: QueueInspector, context: dict[str, Any]
    ) -> list[Card]:
        course: Trends = context["trends"]
        total, before = course.total, context["before"]
        failed_before = sum(runs for status, runs in before.items() if is_failure(status))
        sizes = [row.size for row in rows if row.size is not None]
        running = [task for each in queues.clusters if each.alive for task in each.running]
        oldest = max((row.fact.oldest for row in rows if row.fact.oldest is not None), default=None)
        queue, url = self._url(request, "queue"), partial(self._url, request)
        usual = total.wait(0.95)
        return [
            Card(gettext("waiting"), number(sum(size.ready for size in sizes)), url=queue),
            Card(gettext("running"), number(len(running)), url=url("clusters")),
            Card(gettext("delayed"), number(sum(size.delayed for size in sizes)), url=queue),
            Card(
                gettext("oldest wait"),
                about(oldest) if oldest is not None else NOTHING,
                gettext("usually up to %(time)s") % {"time": short(usual)} if usual is not None else "",
                queue,
            ),
            Card(
                gettext("succeeded"), number(total.done), _before(before.get(SUCCESS, 0)), url("successes")
            ),
            Card(
                gettext("failed"), number(total.failed), _before(failed_before), url("failures"),
                "bad" if total.failed else "",
            ),
            Card(gettext("retrying"), number(total.retried), url=url("failures")),
            Card(
                gettext("dead"), number(total.dead), url=url("dead", status="dead"), style="bad" if total.dead else ""
            ),
        ]  # fmt: skip

    def _function_cards(self, request: HttpRequest, func: str, course: Trends) -> list[Card]:
        total, url = course.total, partial(self._url, request)
        return [
            Card(gettext("succeeded"), number(total.done), url=url("successes", func=func)),
            Card(
                gettext("failed"), number(total.failed), f"{100 * total.failure_share:.1f} %",
                url("failures", func=func),
                "bad" if total.failed else "",
            ),
            Card(gettext("retrying"), number(total.retried), url=url("failures", func=func)),
            *(Card(f"{gettext('run time')} {name}", short(total.run(share))) for share, name in SHARES),
            *(Card(f"{gettext('waited')} {name}", short(total.wait(share))) for share, name in SHARES[:2]),
            Card(gettext("run time in total"), about(total.run_seconds)),
        ]  # fmt: skip

    def _workers(self, queues: QueueInspector, func: str | None) -> list[ProcessRow]:
        """Workers that run a task, those that have run it for longest first; ``func``: only tasks of this function."""
        busy = [
            (process.task.started, process, status)
            for status in queues.clusters
            if status.alive
            for process in status.running
            if process.task is not None and func in (None, process.task.func)
        ]
        longest = sorted(busy, key=lambda each: each[0])[:MAX_LINES]
        return [process_row(process, status) for _, process, status in longest]

    def _schedules(self, request: HttpRequest, func: str | None = None) -> list[ScheduleRow]:
        if not self._sees(request, "schedules"):
            return []
        rows = in_database(Schedule.objects.all()).order_by("next_run", "pk")
        found = rows if func is None else rows.filter(func=func)
        name = f"{self.admin_site.name}:django_cluster_schedule_change"
        return schedule_rows(found[:200], lambda key: reverse(name, args=(key,)), LATE_SECONDS)

    # ── links ────────────────────────────────────────────────────────────────────────────────────

    def _sees(self, request: HttpRequest, page: str) -> bool:
        return may(request, f"view_{PAGES[page]}")

    def _url(self, request: HttpRequest, page: str, **query: str) -> str:
        """The address of the list behind a number; empty for a user who may not see it."""
        if not self._sees(request, page):
            return ""
        url = reverse(f"{self.admin_site.name}:django_cluster_{PAGES[page]}_changelist")
        return f"{url}?{urlencode(query)}" if query else url

    def _link_of(self, request: HttpRequest, sentence: Sentence) -> str:
        query = {"queue": {"queue": sentence.values.get("queue", "")}, "dead": {"status": "dead"}}
        return self._url(request, sentence.page, **query.get(sentence.page, {}))

    def _text(self, sentence: Sentence) -> str:
        return gettext(sentence.text) % sentence.values

    def _state(self, queues: QueueInspector, name: str) -> Any:
        size = queues.size_of(name)
        waits = size is not None and bool(size.ready or size.leased)
        return queue_state(name, queues.clusters, queues.pauses.get(name), waits=waits, away=size is None)


def _address(func: str | None, window: Window) -> str:
    return "?" + urlencode({**({"func": func} if func else {}), "window": window.name})


def _before(count: int) -> str:
    """How many it were in the window before."""
    return gettext("before: %(count)s") % {"count": number(count)} if count else ""
