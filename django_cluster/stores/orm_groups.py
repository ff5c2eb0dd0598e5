"""What is noted of compositions: who has ended, who was the last, and what is still to be sent because of it.

All of it happens in the transaction that writes the rows of the tasks. Any number of recorders may note the
same end at the same time: a place is taken by one ``INSERT``, the ends of a group are counted by one ``UPDATE``, and
what follows is claimed by another, each of which a database does atomically.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from django_cluster.core.composing import (
    COLLECT_POSITION,
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
from django_cluster.core.messages import Outcome, TaskHeader
from django_cluster.errors import StoreUnavailable
from django_cluster.models import GroupMember, TaskGroup
from django_cluster.stores.orm_members import insert
from django_cluster.stores.orm_session import Session
from django_cluster.stores.rows import clean

logger = logging.getLogger("django_cluster")

IDS_PER_QUESTION = 500
MAX_ERROR = 500
"""Characters kept of a failed member's error; its task row has the rest."""
OVERDUE = timedelta(seconds=30)
"""After which somebody else does what is owed."""
KEEP = timedelta(days=7)
"""For which an ended composition is remembered: a repeated message of it is known, a failed member may be repaired."""
PRUNE_EVERY = 600.0
"""Seconds."""

FLAGS = {Owed.SUCCESS: ("success_sent", "on_success"), Owed.FAILURE: ("failure_sent", "on_failure")}


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


class GroupBook:
    """The compositions in one database."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._prune_at = 0.0

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def open(self, group_id: str, total: int, on_success: str, on_failure: str) -> None:
        """Before the first member is sent, in the caller's transaction. Raises ``ValueError`` if it is there."""

        def create() -> None:
            group = TaskGroup(id=group_id, total=total, on_success=on_success, on_failure=on_failure)
            group.save(using=self._session.alias, force_insert=True)

        try:
            self._session.run(create)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, IntegrityError):
                raise ValueError(f"The group {group_id} has been sent already.") from error
            raise

    # ── recording ────────────────────────────────────────────────────────────────────────────────

    def note(self, outcomes: Sequence[Outcome], *, owing: bool) -> list[Step]:
        """Note the ends of members; returns what is to be sent because of them, or has been owed since before.

        Must be called in the transaction that saves the outcomes. With ``owing`` the steps are remembered until
        ``settled`` says that they were sent; without, they are sent in the same transaction.
        """
        ends = _ends(outcomes)
        known = self._known(list(ends))
        fresh = insert(self._session, [_row(end, owing) for key, end in ends.items() if key not in known])
        risen = {key for key, row in known.items() if self._rises(row, ends[key], owing)}
        news = {key: end for key, end in ends.items() if key in fresh or key in risen}
        steps = [step for key, end in news.items() if (step := _next(end, fresh=key in fresh))]
        for of, tally in _tallies(news, fresh).items():
            if fired := self._count(of, tally, owing):
                steps.append(fired)
        self._forget_collected(news.values())
        owed = [row for key, row in known.items() if row.owes and key not in risen]
        return steps + [step for row in owed if (step := self._again(row, ends[row.pk].outcome))]

    def settled(self, steps: Sequence[Step]) -> None:
        """These have been sent."""
        for owed in {step.owed for step in steps}:
            keys = [step.key for step in steps if step.owed is owed]
            self._session.run(lambda keys=keys, owed=owed: self._settle(keys, owed))  # type: ignore[misc]

    def _settle(self, keys: Sequence[str], owed: Owed) -> None:
        self._members().filter(pk__in=keys, owes=owed).update(owes=Owed.NOTHING)

    def _known(self, keys: Sequence[str]) -> dict[str, GroupMember]:
        found = self._members().defer("sealed_result", "error")
        return {row.pk: row for part in _portions(keys) for row in found.filter(pk__in=part)}

    def _rises(self, row: GroupMember, end: End, owing: bool) -> bool:
        """Whether a place that had failed has succeeded now: it was sent again."""
        if row.success or not end.success:
            return False
        new = _row(end, owing)
        changes = {
            name: getattr(new, name) for name in ("success", "task", "owes", "sealed_result", "error", "noted_at")
        }
        return bool(self._members().filter(pk=row.pk, success=False).update(**changes))

    def _again(self, row: GroupMember, outcome: Outcome) -> Step | None:
        """What a member has owed since before: whoever noted its end did not come to send it."""
        if row.owes == Owed.NEXT:
            return next_link(row.pk, outcome)
        return self._fired(row.of, row.pk, Owed(row.owes)) if row.owes in FLAGS else None

    def _forget_collected(self, ends: Iterable[End]) -> None:
        for end in ends:
            if end.place.role is Role.COLLECT and end.success:
                items = self._members().filter(of=end.place.of).exclude(position=COLLECT_POSITION)
                items.update(sealed_result=None)

    # ── groups ───────────────────────────────────────────────────────────────────────────────────

    def _count(self, of: str, tally: Tally, owing: bool) -> Step | None:
        """Count the ends of a group; what follows, if these were the last."""
        group = self._groups().filter(pk=of)
        # The row stays locked from here to the end of the transaction: who comes later sees our count.
        if not group.update(done=F("done") + tally.done, failed=F("failed") + tally.failed):
            self._members().filter(pk__in=tally.keys).update(owes=Owed.COUNT)
            return None
        total, done, failed = group.values_list("total", "done", "failed").get()
        if done < total:
            return None
        owed = Owed.FAILURE if failed else Owed.SUCCESS
        flag, _ = FLAGS[owed]
        if not group.filter(**{flag: False}).update(**{flag: True}):
            return None
        step = self._fired(of, tally.keys[-1], owed)
        if step is not None and owing:
            self._members().filter(pk=step.key).update(owes=owed)
        return step

    def _fired(self, of: str, key: str, owed: Owed) -> Step | None:
        payload = self._groups().filter(pk=of).values_list(FLAGS[owed][1], flat=True).first()
        return Step(key, owed, payload) if payload else None

    # ── looking after it ─────────────────────────────────────────────────────────────────────────

    def overdue(self) -> list[Step]:
        """What should have been sent a while ago: whoever was about to do it has died.

        Members of a group that was not there when they ended (its transaction was still open) are counted now.
        A chain is not meant: the message of the link that ended comes back by itself.
        """
        return self._session.run(self._overdue)

    def _overdue(self) -> list[Step]:
        since = timezone.now() - OVERDUE
        late = self._members().filter(noted_at__lt=since).defer("sealed_result")
        fired = late.filter(owes__in=[Owed.SUCCESS, Owed.FAILURE])[:IDS_PER_QUESTION]
        steps = [step for row in fired if (step := self._fired(row.of, row.pk, Owed(row.owes)))]
        there = Exists(self._groups().filter(pk=OuterRef("of")))
        uncounted: dict[str, Tally] = defaultdict(Tally)
        for row in late.filter(there, owes=Owed.COUNT)[:IDS_PER_QUESTION]:
            if self._members().filter(pk=row.pk, owes=Owed.COUNT).update(owes=Owed.NOTHING):
                _add(uncounted[row.of], row.pk, done=1, failed=not row.success)
        return steps + [step for of, tally in uncounted.items() if (step := self._count(of, tally, owing=True))]

    def prune(self) -> None:
        """Forget what ended long ago; looks now and then only."""
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNE_EVERY
        self._session.run(self._prune, patience=0)

    def _prune(self) -> None:
        since = timezone.now() - KEEP
        unfinished = Exists(self._groups().filter(pk=OuterRef("of"), done__lt=F("total")))
        old = self._members().filter(~unfinished, owes__in=[Owed.NOTHING, Owed.COUNT], noted_at__lt=since)
        self._members().filter(pk__in=list(old.values_list("pk", flat=True)[:IDS_PER_QUESTION])).delete()
        remembered = Exists(self._members().filter(of=OuterRef("pk")))
        ended = self._groups().filter(~remembered, done__gte=F("total"), created_at__lt=since)
        self._groups().filter(pk__in=list(ended.values_list("pk", flat=True)[:IDS_PER_QUESTION])).delete()

    def forget(self, group_id: str) -> None:
        """As if it had never been sent; what follows it never will be."""
        self._members().filter(of=group_id).delete()
        self._groups().filter(pk=group_id).delete()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def has_succeeded(self, header: TaskHeader) -> bool:
        """Whether this very task has succeeded at its place; not known means no."""
        place = membership_of(header.options.member)
        if place is None:
            return False
        mine = self._members().filter(pk=place.key, task=header.id, success=True)
        try:
            return self._session.read(mine.exists)
        except StoreUnavailable as error:
            logger.debug("Whether task %s had succeeded before could not be asked: %s", header.id, error)
            return False

    def members(self, of: str) -> list[GroupMember]:
        """Those that have ended, in their order; without what collects them."""
        ended = self._members().filter(of=of).exclude(position=COLLECT_POSITION)
        return self._session.read(lambda: list(ended.order_by("position")))

    def _members(self) -> QuerySet[GroupMember]:
        return GroupMember.objects.using(self._session.alias).order_by()

    def _groups(self) -> QuerySet[TaskGroup]:
        return TaskGroup.objects.using(self._session.alias).order_by()


def _ends(outcomes: Sequence[Outcome]) -> Mapping[str, End]:
    """One for each place, in the order of their keys; of several a success counts."""
    ends: dict[str, End] = {}
    for outcome in sorted(outcomes, key=succeeded):
        place = membership_of(outcome.options.get("member"))
        if place is not None:
            ends[place.key] = End(place, outcome)
    return dict(sorted(ends.items()))


def _row(end: End, owing: bool) -> GroupMember:
    kind, message, _ = end.outcome.failure or ("", "", "")
    return GroupMember(
        id=end.place.key,
        of=end.place.of,
        position=end.place.position,
        task=end.outcome.id,
        success=end.success,
        owes=Owed.NEXT if owing and end.next is not None else Owed.NOTHING,
        sealed_result=end.outcome.result if end.place.role is Role.ITEM else None,
        error="" if end.success else clean(f"{kind}: {message}"[:MAX_ERROR]) or "",
    )


def _next(end: End, *, fresh: bool) -> Step | None:
    """A lenient link that is repaired has gone on before."""
    step = end.next if fresh or end.place.role is Role.LINK else None
    left = len(end.outcome.options.get("chain") or ())
    if step is None and fresh and left:
        logger.error("The chain of task %s ends here: %d links after it are not run.", end.outcome.name, left)
    return step


def _tallies(news: Mapping[str, End], fresh: Mapping[str, GroupMember]) -> Mapping[str, Tally]:
    """By group, in the order of their ids, so that two recorders cannot wait for each other."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for key, end in news.items():
        if end.place.role not in COUNTED:
            continue
        if key in fresh:
            _add(tallies[end.place.of], key, done=1, failed=not fresh[key].success)
        else:
            _add(tallies[end.place.of], key, done=0, failed=-1)
    return dict(sorted(tallies.items()))


def _add(tally: Tally, key: str, *, done: int, failed: int) -> None:
    tally.done += done
    tally.failed += failed
    tally.keys.append(key)


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), IDS_PER_QUESTION):
        yield keys[start : start + IDS_PER_QUESTION]
