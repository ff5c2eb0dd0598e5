"""Servers that are unavailable, and what could not be done because of that."""

from __future__ import annotations

from logging import DEBUG, INFO, WARNING
from typing import NamedTuple

from django_cluster.core.events.event import Event

UNAVAILABLE = "%(server)s unavailable: %(error)s; retrying"
AVAILABLE = "%(server)s available again after %(seconds).1f s"


class Outage(NamedTuple):
    """The events of one kind of outage."""

    begins: Event
    ends: Event


def _outage(key: str, meaning: str, recovery: str) -> Outage:
    return Outage(
        Event(
            key=f"{key}_unavailable",
            level=WARNING,
            message=UNAVAILABLE,
            fields=("server", "error"),
            meaning=f"{meaning} Logged once for each outage.",
            action=f"Alert if no `{key}_available` follows within a few minutes. Check the server that the text names.",
        ),
        Event(
            key=f"{key}_available",
            level=INFO,
            message=AVAILABLE,
            fields=("server", "seconds"),
            meaning=recovery,
        ),
    )


BROKER = _outage(
    "broker",
    "The pusher cannot reach the broker: no tasks start, and leases are not renewed.",
    "The outage is over; tasks start again.",
)
RECORDING = _outage(
    "recording",
    "The monitor cannot record results: the result store or the broker is unavailable. Tasks go on for a while, and"
    " their results wait in the workers.",
    "The outage is over; waiting results are recorded.",
)
SCHEDULING = _outage(
    "scheduling",
    "The scheduler cannot run schedules: their table or the broker is unavailable.",
    "The outage is over; what became due is made up for as `catch_up` says.",
)
HEARTBEAT = _outage(
    "heartbeat",
    "The monitor cannot write the heartbeat: the cluster is not seen in `qmonitor` and the admin, and obeys no"
    " commands.",
    "The outage is over; the cluster is seen again.",
)
BROKER_UNAVAILABLE, BROKER_AVAILABLE = BROKER
RECORDING_UNAVAILABLE, RECORDING_AVAILABLE = RECORDING
SCHEDULING_UNAVAILABLE, SCHEDULING_AVAILABLE = SCHEDULING
HEARTBEAT_UNAVAILABLE, HEARTBEAT_AVAILABLE = HEARTBEAT

DATABASE_SILENT = Event(
    key="database_silent",
    level=WARNING,
    message="Database %(database)r: no answer for %(seconds).0f s; connection closed",
    fields=("database", "seconds"),
    meaning="A database accepted a statement and did not answer. The statement fails, and is tried again.",
    action="Look for locks and for network devices that drop idle connections.",
)
CLAIM_TOO_LATE = Event(
    key="claim_too_late",
    level=WARNING,
    message="Queue %(queue)s: leasing messages took %(seconds).1f s, too long for leases of %(limit_seconds).0f s;"
    " returned them to the queue",
    fields=("queue", "seconds", "limit_seconds"),
    meaning="The broker answers so slowly that leases might end before they are renewed: no tasks start. Logged once a"
    " minute at most.",
    action="Raise `retry`, or find out why the broker is slow. It goes away by itself after a pause of the server.",
)
PRUNING_POSTPONED = Event(
    key="pruning_postponed",
    level=DEBUG,
    message="Old results not deleted: %(error)s",
    fields=("error",),
    meaning="The result store is unavailable. The next pruning deletes them.",
)
CACHE_NOT_ASKED = Event(
    key="cache_not_asked",
    level=DEBUG,
    message="Cache not searched for results: %(error)s",
    fields=("error",),
    meaning="The cache of `cache` is unavailable, and the project keeps its results in the database.",
)
DUPLICATE_UNKNOWN = Event(
    key="duplicate_unknown",
    level=DEBUG,
    message="Task %(task_id)s runs without a check for an earlier success: %(error)s",
    fields=("task_id", "error"),
    meaning="The result store is unavailable. A member of a group may run twice.",
)
