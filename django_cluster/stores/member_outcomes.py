"""Outcomes of members → what is noted of them, and what they add to their groups. Decided purely."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django_cluster.core.compositions import (
    COUNTED,
    MemberRole,
    Membership,
    PendingStep,
    Step,
    goes_on,
    membership_of,
    next_link,
    succeeded,
)
from django_cluster.core.events.tasks import CHAIN_BROKEN
from django_cluster.core.messages import Outcome
from django_cluster.core.safe_text import storable
from django_cluster.models import GroupMember

Clock = Callable[[], datetime]


MAX_ERROR_LENGTH = 500
"""Characters kept of a failed member's error; its task row has the rest."""


@dataclass(frozen=True, slots=True)
class MemberOutcome:
    """A member that has ended for good."""

    place: Membership
    outcome: Outcome

    @property
    def success(self) -> bool:
        return succeeded(self.outcome)

    @property
    def next(self) -> Step | None:
        """What follows in its chain."""
        chained = self.place.role not in COUNTED and goes_on(self.place.role, success=self.success)
        return next_link(self.place.key, self.outcome) if chained else None


@dataclass(slots=True)
class GroupCounts:
    """What a batch adds to a group."""

    done: int = 0
    failed: int = 0
    keys: list[str] = field(default_factory=list)


def member_outcomes(outcomes: Sequence[Outcome]) -> Mapping[str, MemberOutcome]:
    """One for each place, in the order of their keys; of several a success counts."""
    ends: dict[str, MemberOutcome] = {}
    for outcome in sorted(outcomes, key=succeeded):
        place = membership_of(outcome.options.get("member"))
        if place is not None:
            ends[place.key] = MemberOutcome(place, outcome)
    return dict(sorted(ends.items()))


def row_of(end: MemberOutcome, claimed_by: str | None, clock: Clock) -> GroupMember:
    """The row of a member. ``claimed_by``: the recorder that will send its step; None: it is sent immediately."""
    kind, message, _ = end.outcome.failure or ("", "", "")
    pending_step = PendingStep.NEXT if claimed_by is not None and end.next is not None else PendingStep.NOTHING
    return GroupMember(
        id=end.place.key,
        of=end.place.of,
        position=end.place.position,
        task=end.outcome.id,
        success=end.success,
        **claim_columns(pending_step, claimed_by, clock),
        sealed_result=end.outcome.result if end.place.role is MemberRole.ITEM else None,
        error="" if end.success else storable(f"{kind}: {message}"[:MAX_ERROR_LENGTH]) or "",
    )


def claim_columns(pending_step: PendingStep, claimed_by: str | None, clock: Clock) -> dict[str, Any]:
    """The columns that say what a member pending_step."""
    if pending_step is PendingStep.NOTHING:
        return {"pending_step": pending_step, "claimed_by": "", "claimed_at": None}
    return {"pending_step": pending_step, "claimed_by": claimed_by or "", "claimed_at": clock()}


def next_step(end: MemberOutcome, *, new: bool) -> Step | None:
    """A lenient link that is repaired has gone on before."""
    step = end.next if new or end.place.role is MemberRole.LINK else None
    left = len(end.outcome.options.get("chain") or ())
    if step is None and new and left:
        CHAIN_BROKEN.log(task_id=end.outcome.id, task_name=end.outcome.name, count=left)
    return step


def counts_by_group(news: Mapping[str, MemberOutcome], new: Mapping[str, GroupMember]) -> Mapping[str, GroupCounts]:
    """By group, in the order of their ids, so that two recorders cannot wait for each other."""
    counts: dict[str, GroupCounts] = defaultdict(GroupCounts)
    for key, end in news.items():
        if end.place.role not in COUNTED:
            continue
        if key in new:
            add_to(counts[end.place.of], key, done=1, failed=not new[key].success)
        else:
            add_to(counts[end.place.of], key, done=0, failed=-1)
    return dict(sorted(counts.items()))


def add_to(counts: GroupCounts, key: str, *, done: int, failed: int) -> None:
    counts.done += done
    counts.failed += failed
    counts.keys.append(key)
