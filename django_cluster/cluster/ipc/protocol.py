"""The messages between the processes of one cluster: one type each.

| sender | receiver | message | fields | meaning |
|---|---|---|---|---|
| worker | pusher | `WorkerHello` | `incarnation`, `row`, `waiting`, `unrecorded` | the first message of a connection |
| worker | pusher | `Ready` | `wanted`, `recorded` | asks for jobs, and names those whose lease may end |
| worker | pusher | `Returned` | `numbers` | jobs that were revoked before they began |
| worker | pusher | `Stopping` | | asks for nothing more |
| pusher | worker | `Jobs` | `jobs` | to be run, in their order |
| worker | monitor | `Hello` | `incarnation` | the first message of a connection |
| worker | monitor | `Outcomes` | `outcomes` | how its jobs ended |
| pusher | monitor | `Hello` | `incarnation` | the first message of a connection |
| pusher | monitor | `Outcomes` | `outcomes` | messages that cannot be run, rejected |
| pusher | monitor | `WorkerLost` | `incarnation`, `outcomes` | what a dead worker had begun |
| pusher | monitor | `Stopping` | | waits for `Goodbye` |
| monitor | worker, pusher | `Recorded` | `numbers` | these outcomes are rows, and need not be kept |
| monitor | pusher | `Goodbye` | | the pusher is not needed any longer |
| monitor | pusher | `Acknowledge` | `call`, `receipts` | see `Broker.acknowledge` |
| monitor | pusher | `Release` | `call`, `deliveries`, `delay`, `refund_attempt` | see `Broker.release` |
| pusher | monitor | `BrokerReply` | `call`, `error` | the call was made, or failed |
| notifier | monitor | `NotifierHello` | `incarnation`, `row`, `begun` | the first message of a connection |
| notifier | monitor | `Notified` | `number` | everything up to this number has been called |
| monitor | notifier | `Notify` | `first`, `outcomes` | to be called, numbered from `first` on |
| monitor | notifier | `Stop` | | call what is left, then exit |

The calls of the broker go over a connection of their own, see ``remote_ack``.

``encode`` makes ``marshal`` data of plain values, the name of the type first: fast, and unlike a pickle it cannot run
anything. Both ends are always the same program.
"""

from __future__ import annotations

import marshal
from typing import Any, NamedTuple, TypeAlias, get_args

from django_cluster.brokers.messages import Delivery
from django_cluster.core.messages import Job, Outcome

new = tuple.__new__
"""Makes a named tuple of its values without looking at them: a third of the time of its constructor."""

# ── worker and pusher ────────────────────────────────────────────────────────────────────────────


class WorkerHello(NamedTuple):
    """A worker has connected to a pusher that does not know it."""

    incarnation: int
    row: int
    """Its row of the scoreboard."""
    waiting: list[Job]
    """Jobs that it has not begun; it gives them back."""
    unrecorded: list[tuple[int, str]]
    """Number and receipt of each job that it has finished and that is not recorded: their leases must be renewed."""


class Ready(NamedTuple):
    """A worker asks for jobs."""

    wanted: int
    """How many more."""
    recorded: list[int]
    """Numbers of jobs that were recorded since the last message: their leases need not be renewed."""


class Returned(NamedTuple):
    """Jobs that a worker has not begun, because they were revoked or it stops."""

    numbers: list[int]


class Stopping(NamedTuple):
    """The sender stops: a worker asks its pusher for nothing more, a pusher asks the monitor for ``Goodbye``."""


class Jobs(NamedTuple):
    """Jobs for a worker, in the order in which they are to be run."""

    jobs: list[Job]


# ── worker, pusher and monitor ───────────────────────────────────────────────────────────────────


class Hello(NamedTuple):
    """A worker or a pusher has connected to the monitor."""

    incarnation: int


class Outcomes(NamedTuple):
    """Outcomes to be recorded."""

    outcomes: list[Outcome]


class WorkerLost(NamedTuple):
    """A worker has died; recorded are those of its jobs of which it has sent no outcome itself."""

    incarnation: int
    """That of the worker."""
    outcomes: list[Outcome]
    """One of each job that it had begun."""


class Recorded(NamedTuple):
    """Outcomes that are recorded and acknowledged at the broker."""

    numbers: list[int]
    """The numbers of their jobs."""


class Goodbye(NamedTuple):
    """The monitor needs a stopping pusher no longer."""


# ── calls of the broker that only the pusher can make ────────────────────────────────────────────


class Acknowledge(NamedTuple):
    """``Broker.acknowledge``, for the monitor."""

    call: int
    receipts: list[str]


class Release(NamedTuple):
    """``Broker.release``, for the monitor."""

    call: int
    deliveries: list[Delivery]
    delay: float
    """Seconds."""
    refund_attempt: bool


class BrokerReply(NamedTuple):
    """The answer to the call of this number."""

    call: int
    error: str | None
    """Why it failed; None if it did not."""


# ── notifier and monitor ─────────────────────────────────────────────────────────────────────────


class NotifierHello(NamedTuple):
    """A notifier has connected to the monitor."""

    incarnation: int
    row: int
    """Its row of the scoreboard."""
    begun: int
    """The number of the last notification that it has begun; 0 = none."""


class Notified(NamedTuple):
    """All notifications up to this number have been called."""

    number: int


class Notify(NamedTuple):
    """Recorded outcomes whose hooks, receivers and reporters are to be called."""

    first: int
    """The number of the first; the others follow by one."""
    outcomes: list[Outcome]


class Stop(NamedTuple):
    """The notifier exits when it has called what it was given."""


BrokerCall: TypeAlias = Acknowledge | Release
Message: TypeAlias = (
    WorkerHello | Ready | Returned | Stopping | Jobs | Hello | Outcomes | WorkerLost | Recorded | Goodbye | BrokerCall
    | BrokerReply | NotifierHello | Notified | Notify | Stop
)  # fmt: skip

LISTED: dict[type[Any], tuple[int, type[Any]]] = {
    WorkerHello: (2, Job), Jobs: (0, Job), Outcomes: (0, Outcome), WorkerLost: (1, Outcome), Release: (1, Delivery),
    Notify: (1, Outcome),
}  # fmt: skip
"""Which field lists values of a type of its own: ``marshal`` knows plain tuples only."""
LAYOUTS: dict[str, tuple[type[Any], int, type[Any] | None]] = {
    each.__name__: (each, *LISTED.get(each, (0, None))) for each in get_args(Message)
}


def encode(message: Message) -> bytes:
    """The data that ``decode`` reads."""
    kind: Any = type(message)
    if kind not in LISTED:
        return marshal.dumps((kind.__name__, tuple(message)))
    position = LISTED[kind][0]
    fields: list[Any] = list(message)
    fields[position] = list(map(tuple, fields[position]))
    return marshal.dumps((kind.__name__, fields))


def decode(data: bytes | bytearray) -> Message:
    """The message from which ``encode`` made ``data``; only for what a process of the same cluster has sent."""
    name, fields = marshal.loads(data)  # noqa: S302  our own processes, and it cannot execute anything
    kind, position, listed = LAYOUTS[name]
    if listed is not None:
        fields[position] = [new(listed, values) for values in fields[position]]
    message: Message = new(kind, fields)
    return message
