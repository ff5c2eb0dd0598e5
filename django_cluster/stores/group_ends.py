"""Outcomes of members → what is noted of them, and what they add to their groups. Decided purely."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django_cluster.core.composing import (
    COUNTED,
    Membership,
    Owed,
    Role,
    Step,
    goes_on,
    membership_of,
    next_link,
    succeeded,
)
from django_cluster.core.messages import Outcome
from django_cluster.core.texts import clean
from django_cluster.models import GroupMember

Clock = Callable[[], datetime]

logger = logging.getLogger("django_cluster")

MAX_ERROR = 500
"""Characters kept of a failed member's error; its task row has the rest."""


@dataclass(frozen=True, slots=True)
class End:
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
class Tally:
    """What a batch adds to a group."""

    done: int = 0
    failed: int = 0
    keys: list[str] = field(default_factory=list)


def ends_of(outcomes: Sequence[Outcome]) -> Mapping[str, End]:
    """One for each place, in the order of their keys; of several a success counts."""
    ends: dict[str, End] = {}
    for outcome in sorted(outcomes, key=succeeded):
        place = membership_of(outcome.options.get("member"))
        if place is not None:
            ends[place.key] = End(place, outcome)
    return dict(sorted(ends.items()))


def row_of(end: End, debtor: str | None, clock: Clock) -> GroupMember:
    """``debtor``: who is going to send what follows, None where it is sent at once. ``clock``: that of the database."""
    kind, message, _ = end.outcome.failure or ("", "", "")
    owes = Owed.NEXT if debtor is not None and end.next is not None else Owed.NOTHING
    return GroupMember(
        id=end.place.key,
        of=end.place.of,
        position=end.place.position,
        task=end.outcome.id,
        success=end.success,
        **debt(owes, debtor, clock),
        sealed_result=end.outcome.result if end.place.role is Role.ITEM else None,
        error="" if end.success else clean(f"{kind}: {message}"[:MAX_ERROR]) or "",
    )


def debt(owes: Owed, debtor: str | None, clock: Clock) -> dict[str, Any]:
    """The columns that say what a member owes."""
    if owes is Owed.NOTHING:
        return {"owes": owes, "owed_by": "", "owed_since": None}
    return {"owes": owes, "owed_by": debtor or "", "owed_since": clock()}


def next_of(end: End, *, fresh: bool) -> Step | None:
    """A lenient link that is repaired has gone on before."""
    step = end.next if fresh or end.place.role is Role.LINK else None
    left = len(end.outcome.options.get("chain") or ())
    if step is None and fresh and left:
        logger.error("The chain of task %s ends here: %d links after it are not run.", end.outcome.name, left)
    return step


def tallies_of(news: Mapping[str, End], fresh: Mapping[str, GroupMember]) -> Mapping[str, Tally]:
    """By group, in the order of their ids, so that two recorders cannot wait for each other."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for key, end in news.items():
        if end.place.role not in COUNTED:
            continue
        if key in fresh:
            add_to(tallies[end.place.of], key, done=1, failed=not fresh[key].success)
        else:
            add_to(tallies[end.place.of], key, done=0, failed=-1)
    return dict(sorted(tallies.items()))


def add_to(tally: Tally, key: str, *, done: int, failed: int) -> None:
    tally.done += done
    tally.failed += failed
    tally.keys.append(key)
