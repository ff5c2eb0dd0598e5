"""A look into a queue that is no table: what the broker shows of it, and taking out what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from django_cluster.admin.base import ReadOnlyAdmin, may
from django_cluster.admin.confirming import ask, confirmed
from django_cluster.admin.showing import moment
from django_cluster.brokers.base import Broker, QueueSize, Waiting
from django_cluster.client import get_client
from django_cluster.conf import configured, load_settings
from django_cluster.control import withdraw_from
from django_cluster.core.codec import peek_header
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.errors import BrokerError, PackageError

SEEN = 500
"""Messages that one look shows; the broker names them in the order in which it would lend them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message, for a line of the page."""

    key: str
    header: TaskHeader | None
    state: str
    """``ready``, ``delayed`` or ``leased``."""
    priority: int
    attempts: int
    due: datetime | None


@dataclass(frozen=True, slots=True)
class Look:
    """What one look into a queue came to."""

    cluster: str
    entries: Sequence[Entry] = ()
    size: QueueSize | None = None
    can_peek: bool = True
    can_withdraw: bool = False
    problem: str = ""
    """Why the broker did not answer."""


def clusters() -> list[str]:
    """The queue of the site itself, and those of ``ALT_CLUSTERS``."""
    alternatives = configured().get("ALT_CLUSTERS") or {}
    return [load_settings().queue, *(name for name in alternatives if name != load_settings().queue)]


def broker_of(cluster: str) -> Broker:
    return get_client(None if cluster == load_settings().queue else cluster).broker


def look_into(cluster: str) -> Look:
    """Never raises for a server that is away: the page says it."""
    broker = broker_of(cluster)
    able = broker.capabilities
    try:
        seen = broker.peek(SEEN) if able.peek else ()
        size = broker.size()
    except BrokerError as error:
        return Look(cluster, can_peek=able.peek, problem=str(error) or type(error).__name__)
    return Look(cluster, [_entry(each) for each in seen], size, able.peek, able.withdraw)


def _entry(waiting: Waiting) -> Entry:
    state = "leased" if waiting.leased else "ready" if waiting.due is None else "delayed"
    due = None if waiting.due is None else moment(waiting.due)
    return Entry(waiting.key, label(waiting.payload), state, waiting.priority, waiting.attempts, due)


def label(payload: str) -> TaskHeader | None:
    """What stands on the parcel, unverified: for people to look at, never to act upon."""
    try:
        return peek_header(payload)
    except PackageError:
        return None


def opened(payload: str) -> TaskPackage:
    """With the arguments; raises ``PackageError`` before it opens what this project has not signed."""
    return get_client().codec.loads(payload)


class PeekingAdmin(ReadOnlyAdmin):
    """The page of a queue, and the act of withdrawing."""

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        return may(request, "withdraw_task")

    def look_view(self, request: HttpRequest) -> HttpResponse:
        """The list, for brokers whose queue is no table."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        known = clusters()
        cluster = request.GET.get("queue", "")
        cluster = cluster if cluster in known else known[0]
        if request.method == "POST":
            return self._withdraw_seen(request, cluster)
        look = look_into(cluster)
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "look": look,
            "clusters": known,
            "may_withdraw": look.can_withdraw and self.has_withdraw_permission(request),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/django_cluster/queue.html", context)

    def _withdraw_seen(self, request: HttpRequest, cluster: str) -> HttpResponse:
        if not self.has_withdraw_permission(request):
            raise PermissionDenied
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if keys and not confirmed(request):
            return self.ask_to_withdraw(request, _named(look_into(cluster), keys))
        if not keys:
            self.message_user(request, gettext("No task was selected."), messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())
        try:
            self.say_withdrawn(request, withdraw_from(broker_of(cluster), keys), len(keys))
        except BrokerError as error:
            self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def ask_to_withdraw(self, request: HttpRequest, concerned: Sequence[str]) -> HttpResponse:
        text = ngettext(
            "Withdraw %(count)d task, so that it never runs?",
            "Withdraw %(count)d tasks, so that they never run?",
            len(concerned),
        )
        question = text % {"count": len(concerned)}
        return ask(request, self, question=question, concerned=concerned, button=gettext("Withdraw"))

    def say_withdrawn(self, request: HttpRequest, done: int, asked: int) -> None:
        text = ngettext("%(count)d task was withdrawn.", "%(count)d tasks were withdrawn.", done) % {"count": done}
        self.message_user(request, text, messages.SUCCESS if done else messages.WARNING)
        if done < asked:
            self.message_user(request, gettext("The others had begun, or were gone already."), messages.WARNING)


def _named(look: Look, keys: Sequence[str]) -> list[str]:
    names: dict[str, Any] = {each.key: each.header for each in look.entries}
    return [f"{names[key].name}: {names[key].func}" if names.get(key) else key for key in keys]
