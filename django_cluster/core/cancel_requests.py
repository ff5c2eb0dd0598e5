"""What a request to cancel covers: one task, or all tasks of a composition or of a group label. Decided purely."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from django_cluster.core.compositions import MemberRole, membership_of
from django_cluster.core.messages import TaskHeader

CANCELLED_ROLES = frozenset({MemberRole.LINK, MemberRole.LENIENT_LINK, MemberRole.CALL, MemberRole.ITEM})
"""The members that end with their composition. What follows a group, and what collects results, is how it is told."""
_GENERATED_ID = re.compile(r"[0-9a-f]{32}\Z").match


class CancelResult(StrEnum):
    """What ``cancel`` has achieved. False in a condition if it was too late."""

    CANCELLED = "cancelled"
    """The task waited, and never runs. Of a group: all of its tasks that had not ended."""
    REQUESTED = "requested"
    """It does not wait in its queue: the cluster that runs it, or leases it, cancels it. The end is its status."""
    TOO_LATE = "too late"
    """It had ended before."""

    def __bool__(self) -> bool:
        return self is not CancelResult.TOO_LATE


class TaskKeys(NamedTuple):
    """The names under which a task can be cancelled."""

    id: str
    composition: str = ""
    """The id of the chain, group or iter of which it is a member; empty: of none."""
    group: str = ""
    """Its group label."""
    enqueued_at: float = 0.0
    """Unix time."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, without repetition."""
        return tuple(dict.fromkeys(name for name in (self.id, self.composition, self.group) if name))


def keys_of(header: TaskHeader) -> TaskKeys:
    """The names of the task with this header."""
    options = header.options
    if options.member is None and options.group is None:
        return TaskKeys(header.id)
    place = membership_of(options.member)
    if place is not None and place.role not in CANCELLED_ROLES:
        return TaskKeys(header.id)
    return TaskKeys(header.id, "" if place is None else place.of, options.group or "", header.enqueued_at)


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A request that a task, or the tasks of a composition or group label, do not run on."""

    target: str
    given_at: float = 0.0
    """Unix time by the clock of the database."""
    by: str = ""
    """Who has cancelled it."""

    def covers(self, keys: TaskKeys) -> bool:
        """Whether the task is meant.

        A group label of the project may be used again tomorrow: of such, only tasks are meant that were sent before the
        request. Ids, and labels that are ids, are used once.
        """
        if self.target in (keys.id, keys.composition):
            return True
        if self.target != keys.group:
            return False
        return _GENERATED_ID(self.target) is not None or keys.enqueued_at <= self.given_at

    @property
    def sentence(self) -> str:
        """For the row of the task."""
        return f"Cancelled by {self.by}." if self.by else "Cancelled."
