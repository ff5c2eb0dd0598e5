"""Messages in the queue: leases, undecodable and large ones."""

from __future__ import annotations

from logging import ERROR, WARNING

from django_cluster.core.events.event import Event

LEASES = ("running", "waiting", "held")

LEASE_LOST = Event(
    key="lease_lost",
    level=WARNING,
    message="Leases lost: %(running)d running tasks, %(waiting)d waiting messages: %(reason)s",
    fields=(*LEASES, "reason"),
    meaning="The cluster, the network or the broker paused for longer than `retry`, or the queue was purged. Tasks that"
    " run here may run elsewhere as well.",
    action="Alert on this event. Look for a suspended machine or an overloaded server; increase `retry`.",
)
ALL_LEASES_LOST = Event(
    key="all_leases_lost",
    level=ERROR,
    message="Leases lost: the broker no longer knows any of %(held)d leases (%(running)d running tasks, %(waiting)d"
    " waiting messages); was it flushed, restored or restarted without its data?",
    fields=LEASES,
    meaning="The broker has lost its data, or the queue was purged. Tasks that waited may be gone.",
    action="Alert on this event. Check the server, and send again what was lost.",
)
MESSAGE_REJECTED = Event(
    key="message_rejected",
    level=ERROR,
    message="Undecodable message rejected: %(error)s",
    fields=("error",),
    meaning="A message is no task of this cluster, or cannot be read. Its row (status `rejected`) keeps the message.",
    action="Alert on this event. Look for senders with another `SECRET_KEY`, `name` or version.",
)
MESSAGES_RETURNED = Event(
    key="messages_returned",
    level=WARNING,
    message="Returned %(count)d undecodable messages to the queue: %(error)s",
    fields=("count", "error"),
    meaning="The messages carry another signature, or need a library that is missing here. Other clusters on this queue"
    " may be able to read them. After a few attempts they are rejected.",
    action="Give each project a `name` of its own, and the same `SECRET_KEY` to all processes of a project.",
)
REJECT_QUOTA_EXCEEDED = Event(
    key="reject_quota_exceeded",
    level=ERROR,
    message="%(count)d undecodable messages postponed by an hour: %(reason)s",
    fields=("count", "reason"),
    meaning="So many messages were rejected within a day that no more of them are kept as rows.",
    action="Alert on this event. Find out who sends them.",
)
PAYLOADS_LEFT = Event(
    key="payloads_left",
    level=WARNING,
    message="Large payloads not deleted: %(error)s",
    fields=("error",),
    meaning="Rows of large payloads whose messages are done stay in the database for some days, and are then deleted.",
)
ATTEMPTS_NOT_REFUNDED = Event(
    key="attempts_not_refunded",
    level=WARNING,
    message="Returning %(count)d messages costs an attempt: %(reason)s",
    fields=("count", "reason"),
    meaning="The broker counts attempts itself, and the message could not be sent anew.",
)
FOREIGN_KEYS_RENAMED = Event(
    key="foreign_keys_renamed",
    level=ERROR,
    message="Redis: keys of the queue %(queue)s held data of another type and were renamed: %(value)s",
    fields=("queue", "value"),
    meaning="Another program has written to keys of the queue. The names of the renamed keys are in the text.",
    action="Give the queue a Redis database of its own.",
)
DELAYED_TASK_REFUSED = Event(
    key="delayed_task_refused",
    level=ERROR,
    message="Delayed task not sent: %(error)s",
    fields=("error",),
    meaning="A task of the delay queue is due, and the broker refuses it. It is tried again after some minutes.",
    action="Remove the cause that the text names.",
)
