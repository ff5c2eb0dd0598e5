"""The queues and their messages, as the page of queues shows them. Servers that do not answer are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.utils.http import urlencode
from django.utils.safestring import SafeString

from django_cluster import control
from django_cluster.admin.formatting import NOTHING, exact, function_path, number, state_badge
from django_cluster.brokers import shipped_kind
from django_cluster.brokers.base import MAX_QUEUE_NAMES, Broker
from django_cluster.brokers.messages import QueuedMessage, QueueSize
from django_cluster.client.client import get_client
from django_cluster.conf import known_queues, load_settings
from django_cluster.core.codec import peek_header
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.redaction import redactor
from django_cluster.core.settings.named_values import queue_name
from django_cluster.core.settings.values import InvalidValue
from django_cluster.core.time import from_unix_time
from django_cluster.dashboard.state_labels import queue_state
from django_cluster.errors import BrokerError, PackageError, StoreUnavailable
from django_cluster.models import QueuedTask
from django_cluster.stores.operator_commands import QueuePause
from django_cluster.stores.status import ClusterStatus

Answer = TypeVar("Answer")

MAX_MESSAGES = 500
"""Messages that a page reads of a queue, in the order in which the broker will lease them."""

PEEKED = 20
"""Messages among which the oldest is looked for: brokers show those that are ready first."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message of a queue, as a row of the page."""

    key: str
    header: TaskHeader | None
    func: SafeString
    state: str
    """``ready``, ``delayed`` or ``leased``."""
    priority: int
    attempts: int
    when: SafeString | str
    """When a delayed message becomes ready, or the lease of a leased one ends."""
    url: str
    """Address of the page of this message; empty where it has none."""


@dataclass(frozen=True, slots=True)
class QueueContent:
    """The first messages of a queue."""

    queue: str
    entries: Sequence[MessageRow] = ()
    more: bool = False
    """Whether there are more messages than the entries show."""
    can_peek: bool = True
    can_cancel: bool = False
    problem: str = ""
    """The error of the broker, if it did not answer."""


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue, as a row of the page; a number that is not known is a question mark."""

    name: str
    query: str
    broker: str
    ready: str
    leased: str
    delayed: str
    state: SafeString


def broker_of(queue: str) -> Broker:
    return get_client(None if queue == load_settings().queue else queue).broker


class QueueInspector:
    """The queues of the project at one moment. An unavailable server is asked once only."""

    def __init__(self) -> None:
        self.problem = ""
        """The error of the database, if it did not return the clusters."""
        self._away: dict[str, str] = {}
        self._sizes: dict[str, QueueSize | None] = {}
        self.clusters: list[ClusterStatus] = []
        self.pauses: dict[str, QueuePause] = {}
        try:
            self.clusters = control.clusters(dead=True)
            self.pauses = {pause.queue: pause for pause in control.paused()}
        except StoreUnavailable as error:
            self.problem = redactor().text(str(error))
        self.names = self._names()

    def _names(self) -> list[str]:
        """The queue names of the settings, of clusters, of pauses and of the default broker."""
        names = dict.fromkeys(known_queues())
        names |= dict.fromkeys(queue for status in self.clusters for queue in status.queues)
        names |= dict.fromkeys(self.pauses)
        site = broker_of(load_settings().queue)
        found = self._ask(site, site.queue_names)
        return [name for name in names | dict.fromkeys(found or ()) if is_queue_name(name)][:MAX_QUEUE_NAMES]

    def lines(self) -> list[QueueRow]:
        return [self._line(name) for name in self.names]

    def _line(self, name: str) -> QueueRow:
        broker = broker_of(name)
        size = self.size_of(name)
        ready, leased, delayed = (
            ("?", "?", "?") if size is None else (number(size.ready), number(size.leased), number(size.delayed))
        )
        waits = size is not None and bool(size.ready or size.leased)
        state = queue_state(name, self.clusters, self.pauses.get(name), waits=waits, away=size is None)
        return QueueRow(
            name, urlencode({"queue": name}), broker.settings.kind, ready, leased, delayed, state_badge(state)
        )

    def size_of(self, name: str) -> QueueSize | None:
        """What the broker says of a queue, asked once; None while it is unavailable."""
        if name not in self._sizes:
            broker = broker_of(name)
            self._sizes[name] = self._ask(broker, broker.size)
        return self._sizes[name]

    def oldest_wait(self, name: str, now: float) -> float | None:
        """For how many seconds the first ready messages of a queue wait at most; None where that cannot be seen."""
        broker, size = broker_of(name), self.size_of(name)
        if size is None or not size.ready or not broker.capabilities.peek:
            return None
        seen = self._ask(broker, lambda: broker.peek(PEEKED)) or ()
        ready = [unverified_header(each.payload) for each in seen if not each.leased and each.due is None]
        since = [max(each.enqueued_at, each.options.not_before or 0.0) for each in ready if each is not None]
        return max(0.0, now - min(since)) if since else None

    def content(self, name: str, page_of: Callable[[str], str]) -> QueueContent:
        """Return the messages of a queue; never raises ``BrokerError``. ``page_of``: the URL of a message by its
        key.
        """
        broker = broker_of(name)
        able = broker.capabilities
        seen = self._ask(broker, lambda: broker.peek(MAX_MESSAGES + 1) if able.peek else ())
        if seen is None:
            return QueueContent(name, can_peek=able.peek, problem=self._away[_server(broker)])
        entries = [_entry(each, page_of(each.key) if each.key else "") for each in seen[:MAX_MESSAGES]]
        return QueueContent(name, entries, len(seen) > MAX_MESSAGES, able.peek, able.cancel)

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
    """Whether a queue can have this name: rows of clusters and keys of servers may hold any text."""
    try:
        queue_name().convert(name)
    except InvalidValue:
        return False
    return True


def _server(broker: Broker) -> str:
    """A name for the server of a broker, valid for one page."""
    return f"{broker.settings.kind} {broker.settings.options!r}"


def is_listed_table(broker: Broker) -> bool:
    """Whether the queue is the table that the admin lists: that of the default broker."""
    site = broker_of(load_settings().queue)
    return shipped_kind(broker.settings) == "orm" and _server(broker) == _server(site)


def _entry(waiting: QueuedMessage, url: str) -> MessageRow:
    state = "leased" if waiting.leased else "ready" if waiting.due is None else "delayed"
    header = unverified_header(waiting.payload)
    return MessageRow(
        key=waiting.key,
        header=header,
        func=function_path(header.func) if header else SafeString(NOTHING),
        state=state,
        priority=waiting.priority,
        attempts=waiting.attempts,
        when=NOTHING if waiting.due is None else exact(from_unix_time(waiting.due)),
        url=url,
    )


def find_message(queue: str, key: str) -> QueuedTask | None:
    """One of the first messages of a queue as a row; None if it is gone, or its broker is unavailable."""
    queues = QueueInspector()
    if not key or queue not in queues.names or not (broker := broker_of(queue)).capabilities.peek:
        return None
    try:
        waiting = next((each for each in broker.peek(MAX_MESSAGES) if each.key == key), None)
    except BrokerError:
        return None
    if waiting is None:
        return None
    header = unverified_header(waiting.payload)
    due = waiting.due if waiting.due is not None else header.enqueued_at if header else 0.0
    return QueuedTask(
        id=0,
        queue=queue,
        lane=-waiting.priority if waiting.due is None else QueuedTask.NOT_READY_LANE,
        due=int(due * 1_000_000),
        priority=waiting.priority,
        leased=waiting.leased,
        attempts=waiting.attempts,
        payload=waiting.payload,
    )


def unverified_header(payload: str) -> TaskHeader | None:
    """The header of a message, not verified: for display only."""
    try:
        return peek_header(payload)
    except PackageError:
        return None


def open_package(queue: str, payload: str) -> TaskPackage:
    """The task with its arguments. Raises ``PackageError`` unless this project has signed it for this queue."""
    return get_client().codec.for_queue(queue).loads(payload)
