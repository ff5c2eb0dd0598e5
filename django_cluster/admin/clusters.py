"""The page of clusters: their processes, running tasks and memory, and the commands to pause queues and restart
workers.

The page shows the last heartbeat of each cluster. A cluster executes a command with its next heartbeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_cluster import control
from django_cluster.admin.base import ReadOnlyAdmin
from django_cluster.admin.confirmation import confirmation_page, is_confirmed
from django_cluster.admin.formatting import NOTHING, badge, clock, function_path, number, seconds, state_badge
from django_cluster.core.redaction import redactor
from django_cluster.core.time import from_unix_time
from django_cluster.dashboard.state_labels import about, cluster_state
from django_cluster.dashboard.text import progress_text
from django_cluster.errors import ClusterError, StoreUnavailable
from django_cluster.models import Heartbeat
from django_cluster.stores.operator_commands import QueuePause
from django_cluster.stores.status import ClusterStatus, ProcessStatus, RunningTask

NEAR_LIMIT = 0.8
"""The share of its limit from which a running task is highlighted."""

STATES = {
    "running": _("running"),
    "booting": _("booting"),
    "idle": _("idle"),
    "busy": _("busy"),
    "stopping": _("stopping"),
}


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process, as a row of the page."""

    name: str
    pid: int
    state: SafeString
    task: SafeString | str
    elapsed: SafeString | str
    memory: str
    cpu: str
    done: str
    order: str
    """The target of the command to restart this worker; empty for other processes, and while it stops."""
    cancel: str = ""
    """The id of the task that can be cancelled here; empty where none runs."""


@dataclass(frozen=True, slots=True)
class ClusterSection:
    """One cluster, as a section of the page."""

    status: ClusterStatus
    state: SafeString
    started: datetime
    last_seen: datetime
    versions: str
    figures: Sequence[tuple[str, str]]
    """(label, number)"""
    workers: Sequence[ProcessRow]
    """Workers of a lost cluster that ran a task at its last heartbeat."""
    others: Sequence[ProcessRow]
    empty: str
    """A sentence that replaces the table of workers; empty if there are workers."""


def cluster_section(status: ClusterStatus) -> ClusterSection:
    if status.alive:
        state = state_badge(cluster_state(status))
    else:
        lost = gettext("lost %(time)s ago") % {"time": about(status.age)}
        state = badge("bad", lost)
    versions = ", ".join(f"{name} {number}" for name, number in status.versions.items())
    processes = status.processes if status.alive else status.running
    workers = [process_row(process, status) for process in processes if process.role == "worker"]
    others = [process_row(process, status) for process in processes if process.role != "worker"]
    return ClusterSection(
        status=status,
        state=state,
        started=from_unix_time(status.started_at),
        last_seen=from_unix_time(status.published_at),
        versions=versions,
        figures=figures(status),
        workers=workers,
        others=others,
        empty="" if workers or status.alive else gettext("No task was running."),
    )


def figures(status: ClusterStatus) -> list[tuple[str, str]]:
    return [
        (gettext("succeeded"), number(status.throughput.done)),
        (gettext("failed"), number(status.throughput.failed)),
        (gettext("prefetched"), number(max(0, status.in_flight - len(status.running) - status.unrecorded))),
        (gettext("results to write"), number(status.unrecorded)),
        (gettext("restarts"), number(status.restarts)),
    ]


def process_row(process: ProcessStatus, status: ClusterStatus) -> ProcessRow:
    now = status.published_at + (status.age if status.alive else 0.0)
    works = process.role == "worker"
    return ProcessRow(
        name=process.name,
        pid=process.pid,
        state=badge(process.state, STATES.get(process.state, process.state)),
        task=running_task(process.task) if process.task else NOTHING,
        elapsed=elapsed(process.task, now) if process.task else NOTHING,
        memory=f"{process.rss / 1024:.0f} MB" if process.rss else NOTHING,
        cpu=f"{process.cpu:.0f} %",
        done=number(process.done) if works else NOTHING,
        order=f"{status.id} {process.incarnation}" if works and status.alive and process.state != "stopping" else "",
        cancel=process.task.id if works and status.alive and process.task else "",
    )


def running_task(task: RunningTask) -> SafeString:
    """Its function, its name, and how far it is."""
    shown = format_html('{} <span class="dc-quiet">{}</span>', function_path(task.func), task.name)
    said = task.progress
    if said is None:
        return shown
    bar = "" if said.share is None else format_html('<progress max="1" value="{}"></progress> ', f"{said.share:.3f}")
    return format_html('{}<br>{}<span class="dc-quiet">{}</span>', shown, bar, progress_text(said))


def elapsed(task: RunningTask, now: float) -> SafeString | str:
    """How long the task has run, and its limit; highlighted when little is left."""
    ran = max(0.0, now - task.started)
    if task.limit is None:
        return seconds(round(ran))
    text = gettext("%(ran)s of %(limit)s") % {"ran": seconds(round(ran)), "limit": seconds(round(task.limit))}
    return badge("timeout", text) if ran > NEAR_LIMIT * task.limit else text


@admin.register(Heartbeat)
class ClusterStatusAdmin(ReadOnlyAdmin):
    """One page for all clusters."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponseRedirect(self._here())

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._order(request)
        found: list[ClusterStatus] = []
        pauses: list[QueuePause] = []
        problem = ""
        try:
            found, pauses = control.clusters(dead=True), control.paused()
        except StoreUnavailable as error:
            problem = redactor().text(str(error))
        held = {pause.queue for pause in pauses}
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "parts": [cluster_section(status) for status in found],
            "queues": sorted({queue for status in found if status.alive for queue in status.queues} - held),
            "pauses": [(pause, about(pause.age)) for pause in pauses],
            "problem": problem,
            "now": clock(),
            "may_pause": self._may(request, "pause"),
            "may_restart_worker": self._may(request, "restart_worker"),
            "may_cancel": self._may(request, "cancel"),
        }
        return TemplateResponse(request, "admin/django_cluster/clusters.html", context)

    def _may(self, request: HttpRequest, act: str) -> bool:
        return request.user.has_perm(control.PERMISSIONS[act])

    def _here(self) -> str:
        return reverse(f"{self.admin_site.name}:django_cluster_heartbeat_changelist")

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    def _order(self, request: HttpRequest) -> HttpResponse:
        verb, _space, target = request.POST.get("order", "").partition(" ")
        if verb not in ("pause", "resume", "restart_worker", "cancel") or not self._may(request, verb):
            raise PermissionDenied
        if verb in ("pause", "cancel") and not is_confirmed(request):
            question, consequence, button = _question(verb, target)
            return confirmation_page(
                request, self, question=question, concerned=[consequence], button=button, carried=("order",)
            )
        try:
            self.message_user(request, self._carry_out(verb, target, request.user.get_username()), messages.SUCCESS)
        except (ClusterError, ValueError) as error:
            self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(self._here())

    def _carry_out(self, verb: str, target: str, by: str) -> str:
        if verb == "pause":
            control.pause(target, by=by)
            return gettext("The queue %(queue)s is paused.") % {"queue": target}
        if verb == "resume":
            control.resume(target)
            return gettext("The queue %(queue)s is resumed.") % {"queue": target}
        if verb == "cancel":
            if control.cancel(target, by=by):
                return gettext("The task is told to stop; if it does not, its worker is killed.")
            return gettext("The task has ended already.")
        cluster, _space, incarnation = target.partition(" ")
        if not incarnation.isdecimal():
            raise ClusterError(gettext("This worker no longer exists."))
        control.restart_worker(cluster, int(incarnation), by=by)
        return gettext("The worker restarts after its current task.")


def _question(verb: str, target: str) -> tuple[str, str, str]:
    """Question, consequence and button of the page that asks before an order is carried out."""
    if verb == "cancel":
        question = gettext("Cancel the task %(task)s?") % {"task": target}
        consequence = gettext("What it has done stays done. It is not retried; its group counts it as failed.")
        return question, consequence, gettext("Cancel the task")
    question = gettext("Pause the queue %(queue)s?") % {"queue": target}
    consequence = gettext("Clusters lease nothing from it until it is resumed. Running tasks continue.")
    return question, consequence, gettext("Pause")
