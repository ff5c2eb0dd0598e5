"""The queues, and a look into one of them: what its broker shows of it, and taking out what waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from django_cluster import control
from django_cluster.admin.base import SEE_ARGUMENTS, ReadOnlyAdmin, may
from django_cluster.admin.confirming import ask, confirmed
from django_cluster.admin.showing import NOTHING, exact, function, moment, number, state_badge
from django_cluster.brokers import shipped_kind
from django_cluster.brokers.base import MAX_QUEUE_NAMES, Broker, Waiting
from django_cluster.client import get_client
from django_cluster.conf import known_queues, load_settings
from django_cluster.control import withdraw_from
from django_cluster.core.codec import peek_header
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.redaction import redactor
from django_cluster.core.values import Unfit, queue_name
from django_cluster.dashboard.states import queue_state
from django_cluster.errors import BrokerError, PackageError, StoreUnavailable
from django_cluster.models import QueuedTask
from django_cluster.stores.instructions import Pause
from django_cluster.stores.status import ClusterStatus

Answer = TypeVar("Answer")

SEEN = 500
"""Messages that one look shows; the broker names them in the order in which it would lend them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message, for a line of the page."""

    key: str
    header: TaskHeader | None
    func: SafeString
    state: str
    """``ready``, ``delayed`` or ``leased``."""
    priority: int
    attempts: int
    when: SafeString | str
    """When a delayed one becomes ready, or a leased one comes back."""
    url: str
    """Address of the page of this message; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look into a queue came to."""

    queue: str
    entries: Sequence[Entry] = ()
    more: bool = False
    """Whether there are more messages than the entries show."""
    can_peek: bool = True
    can_withdraw: bool = False
    problem: str = ""
    """Why the broker did not answer."""


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue, for a line of the page; a figure that is not known is a question mark."""

    name: str
    query: str
    broker: str
    ready: str
    leased: str
    delayed: str
    state: SafeString


def broker_of(queue: str) -> Broker:
    return get_client(None if queue == load_settings().queue else queue).broker


class Queues:
    """The queues of the project at one moment. A server that is away is asked once, and is said to be away."""

    def __init__(self) -> None:
        self.problem = ""
        """Why the database did not say which clusters there are."""
        self._away: dict[str, str] = {}
        self._clusters: list[ClusterStatus] = []
        self._pauses: dict[str, Pause] = {}
        try:
            self._clusters = control.clusters(dead=True)
            self._pauses = {pause.queue: pause for pause in control.paused()}
        except StoreUnavailable as error:
            self.problem = redactor().text(str(error))
        self.names = self._names()

    def _names(self) -> list[str]:
        """Queue names from the settings, from clusters, from pauses and from the broker of the project."""
        names = dict.fromkeys(known_queues())
        names |= dict.fromkeys(queue for status in self._clusters for queue in status.queues)
        names |= dict.fromkeys(self._pauses)
        site = broker_of(load_settings().queue)
        found = self._ask(site, site.queue_names)
        return [name for name in names | dict.fromkeys(found or ()) if is_queue_name(name)][:MAX_QUEUE_NAMES]

    def lines(self) -> list[QueueLine]:
        return [self._line(name) for name in self.names]

    def _line(self, name: str) -> QueueLine:
        broker = broker_of(name)
        size = self._ask(broker, broker.size)
        ready, leased, delayed = (
            ("?", "?", "?") if size is None else (number(size.ready), number(size.leased), number(size.delayed))
        )
        waits = size is not None and bool(size.ready or size.leased)
        state = queue_state(name, self._clusters, self._pauses.get(name), waits=waits, away=size is None)
        return QueueLine(
            name, urlencode({"queue": name}), broker.settings.kind, ready, leased, delayed, state_badge(state)
        )

    def look(self, name: str, page_of: Callable[[str], str]) -> Look:
        """Never raises for a server that is away. ``page_of``: the address of the page of a message, by its key."""
        broker = broker_of(name)
        able = broker.capabilities
        seen = self._ask(broker, lambda: broker.peek(SEEN + 1) if able.peek else ())
        if seen is None:
            return Look(name, can_peek=able.peek, problem=self._away[_server(broker)])
        entries = [_entry(each, page_of(each.key) if each.key else "") for each in seen[:SEEN]]
        return Look(name, entries, len(seen) > SEEN, able.peek, able.withdraw)

    def _ask(self, broker: Broker, question: Callable[[], Answer]) -> Answer | None:
        server = _server(broker)
        if server in self._away:
            return None
        try:
            return question()
        except BrokerError as error:
            self._away[server] = redactor().text(str(error)) or type(error).__name__
            return None


def is_queue_name(name: str) -> bool:
    """Whether a queue can be called so: a row of a cluster, or a key of a server, may say anything."""
    try:
        queue_name().convert(name)
    except Unfit:
        return False
    return True


def _server(broker: Broker) -> str:
    """Names the server of a broker, for as long as one page is made."""
    return f"{broker.settings.kind} {broker.settings.options!r}"


def is_listed_table(broker: Broker) -> bool:
    """Whether its queue is the table of which the admin has a list: that of the site's own broker."""
    site = broker_of(load_settings().queue)
    return shipped_kind(broker.settings) == "orm" and _server(broker) == _server(site)


def _entry(waiting: Waiting, url: str) -> Entry:
    state = "leased" if waiting.leased else "ready" if waiting.due is None else "delayed"
    header = label(waiting.payload)
    return Entry(
        key=waiting.key,
        header=header,
        func=function(header.func) if header else SafeString(NOTHING),
        state=state,
        priority=waiting.priority,
        attempts=waiting.attempts,
        when=NOTHING if waiting.due is None else exact(moment(waiting.due)),
        url=url,
    )


def seen_message(queue: str, key: str) -> QueuedTask | None:
    """One of the first messages of a queue, as a row; None if it is not there any more, or its broker is away."""
    queues = Queues()
    if not key or queue not in queues.names or not (broker := broker_of(queue)).capabilities.peek:
        return None
    try:
        waiting = next((each for each in broker.peek(SEEN) if each.key == key), None)
    except BrokerError:
        return None
    if waiting is None:
        return None
    header = label(waiting.payload)
    due = waiting.due if waiting.due is not None else header.enqueued_at if header else 0.0
    return QueuedTask(
        id=0,
        queue=queue,
        lane=-waiting.priority if waiting.due is None else QueuedTask.PARKED,
        due=int(due * 1_000_000),
        priority=waiting.priority,
        leased=waiting.leased,
        attempts=waiting.attempts,
        payload=waiting.payload,
    )


def label(payload: str) -> TaskHeader | None:
    """What stands on the parcel, unverified: for people to look at, never to act upon."""
    try:
        return peek_header(payload)
    except PackageError:
        return None


def opened(queue: str, payload: str) -> TaskPackage:
    """With the arguments; raises ``PackageError`` before it opens what this project has not signed for this queue."""
    return get_client().codec.of(queue).loads(payload)


class PeekingAdmin(ReadOnlyAdmin):
    """The page of a queue, and the act of withdrawing."""

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        return may(request, "withdraw_task")

    def look_view(self, request: HttpRequest) -> HttpResponse:
        """All queues and the messages of one of them, for every broker."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        queues = Queues()
        queue = request.GET.get("queue", "")
        queue = queue if queue in queues.names else queues.names[0]
        if request.method == "POST":
            return self._withdraw_seen(request, queues, queue)
        look = queues.look(queue, lambda key: self.page_of(queue, key))
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
            "media": self.media,
            "queues": queues.lines(),
            "problem": queues.problem,
            "look": look,
            "is_table": is_listed_table(broker_of(queue)),
            "may_withdraw": look.can_withdraw and self.has_withdraw_permission(request),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/django_cluster/queue.html", context)

    def page_of(self, queue: str, key: str) -> str:
        """The address of the page of one message: a row has its number, any other message its queue and its key."""
        name = key if is_listed_table(broker_of(queue)) else urlencode({"queue": queue, "key": key})
        return reverse(f"{self.admin_site.name}:django_cluster_queuedtask_change", args=(quote(name),))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """A row, or what another broker shows of one of its messages, as a row that is never saved."""
        if object_id.isdecimal():
            return super().get_object(request, object_id, from_field)
        names = dict(parse_qsl(object_id))
        row = seen_message(names.get("queue", ""), names.get("key", ""))
        if row is not None:
            row.arguments_visible = may(request, SEE_ARGUMENTS)  # type: ignore[attr-defined]
        return row

    def _withdraw_seen(self, request: HttpRequest, queues: Queues, queue: str) -> HttpResponse:
        if not self.has_withdraw_permission(request):
            raise PermissionDenied
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if keys and not confirmed(request):
            return self.ask_to_withdraw(request, _named(queues.look(queue, lambda key: ""), keys))
        if not keys:
            self.message_user(request, gettext("No task was selected."), messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())
        try:
            self.say_withdrawn(request, withdraw_from(broker_of(queue), keys), len(keys))
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
