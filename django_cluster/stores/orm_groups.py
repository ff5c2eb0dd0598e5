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
from datetime import timedelta
from typing import NamedTuple

from django.db import IntegrityError
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from django_cluster.core.composing import Owed, Role, Step, membership_of, next_link
from django_cluster.core.messages import Outcome, TaskHeader
from django_cluster.database import ServerClock
from django_cluster.errors import StoreUnavailable
from django_cluster.models import GroupMember, TaskGroup
from django_cluster.stores.group_ends import End, Tally, add_to, debt, ends_of, next_of, row_of, tallies_of
from django_cluster.stores.group_retention import forget_old
from django_cluster.stores.orm_members import insert
from django_cluster.stores.orm_session import Session

logger = logging.getLogger("django_cluster")

IDS_PER_QUESTION = 500
ID_LENGTH = 32
"""Characters of the id of a group."""
TAKEN_OVER = timedelta(seconds=10)
"""After which whoever is given the same message again does what is owed."""
OVERDUE = timedelta(seconds=30)
"""After which anybody does it."""
KEEP = timedelta(days=7)
"""For which an ended composition is remembered: a repeated message of it is known, a failed member may be repaired."""
PRUNE_EVERY = 600.0
"""Seconds."""

FLAGS = {Owed.SUCCESS: ("success_sent", "on_success"), Owed.FAILURE: ("failure_sent", "on_failure")}


class Noted(NamedTuple):
    """What noting some ends came to."""

    steps: list[Step]
    """To be sent by us."""
    waiting: frozenset[str] = frozenset()
    """Tasks whose step somebody else is about to send: their messages have to come back, in case he does not."""


class GroupBook:
    """The compositions in one database."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._clock = ServerClock(session.alias)  # hosts must agree on how long something has been owed
        self._prune_at = 0.0

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def open(self, group_id: str, total: int, on_success: str, on_failure: str) -> None:
        """Before the first member is sent, in the caller's transaction. Raises ``ValueError`` if it is there."""

        group = TaskGroup(id=group_id, total=total, on_success=on_success, on_failure=on_failure)
        tried = False

        def create() -> None:
            nonlocal tried
            # When the answer was lost, it is there: as this very call has written it.
            ours = self._groups().filter(pk=group_id, total=total, on_success=on_success, on_failure=on_failure)
            if tried and ours.exists():
                return
            tried = True
            group.save(using=self._session.alias, force_insert=True)

        try:
            self._session.run(create)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, IntegrityError):
                raise ValueError(f"The group {group_id} has been sent already.") from error
            raise

    # ── recording ────────────────────────────────────────────────────────────────────────────────

    def note(self, outcomes: Sequence[Outcome], *, debtor: str | None) -> Noted:
        """Note the ends of members; says what is to be sent because of them, or has been owed since before.

        Must be called in the transaction that saves the outcomes. The steps are remembered as a debt of ``debtor``
        until ``settled`` says that they were sent; with None, they are sent in the same transaction.
        """
        ends = ends_of(outcomes)
        known = self._known(list(ends))
        fresh = insert(
            self._session, [row_of(end, debtor, self._clock) for key, end in ends.items() if key not in known]
        )
        risen = {key for key, row in known.items() if self._rises(row, ends[key], debtor)}
        news = {key: end for key, end in ends.items() if key in fresh or key in risen}
        steps = [step for key, end in news.items() if (step := next_of(end, fresh=key in fresh))]
        for of, tally in tallies_of(news, fresh).items():
            if fired := self._count(of, tally, debtor):
                steps.append(fired)
        self._forget_collected(news.values())
        return self._with_old_debts(steps, {key: known[key] for key in known.keys() - risen}, ends, debtor)

    def _with_old_debts(
        self, steps: list[Step], known: Mapping[str, GroupMember], ends: Mapping[str, End], debtor: str | None
    ) -> Noted:
        """A debt of our own is paid now, that of somebody who is late as well; for others the message has to wait."""
        waiting = []
        for key, row in known.items():
            if row.owes in (Owed.NOTHING, Owed.COUNT):
                continue
            if row.owed_by != debtor and not self._taken_over(row, debtor, TAKEN_OVER):
                waiting.append(ends[key].outcome.id)
            elif step := self._again(row, ends[key].outcome):
                steps.append(step)
        return Noted(steps, frozenset(waiting))

    def _taken_over(self, row: GroupMember, debtor: str | None, after: timedelta) -> bool:
        """Whether a debt is ours now, because whoever had it let this time pass. Only one can take it."""
        if row.owed_since is None or row.owed_since > self._clock() - after:
            return False
        same = self._members().filter(pk=row.pk, owes=row.owes, owed_by=row.owed_by, owed_since=row.owed_since)
        return bool(same.update(owed_by=debtor or "", owed_since=self._clock()))

    def settled(self, steps: Sequence[Step]) -> None:
        """These have been sent."""
        for owed in {step.owed for step in steps}:
            keys = [step.key for step in steps if step.owed is owed]
            self._session.run(lambda keys=keys, owed=owed: self._settle(keys, owed))  # type: ignore[misc]

    def _settle(self, keys: Sequence[str], owed: Owed) -> None:
        self._members().filter(pk__in=keys, owes=owed).update(**debt(Owed.NOTHING, None, self._clock))

    def _known(self, keys: Sequence[str]) -> dict[str, GroupMember]:
        found = self._members().defer("sealed_result", "error")
        return {row.pk: row for part in _portions(keys) for row in found.filter(pk__in=part)}

    def _rises(self, row: GroupMember, end: End, debtor: str | None) -> bool:
        """Whether a place that had failed has succeeded now: it was sent again."""
        if row.success or not end.success:
            return False
        new = row_of(end, debtor, self._clock)
        columns = ("success", "task", "owes", "owed_by", "owed_since", "sealed_result", "error", "noted_at")
        changes = {name: getattr(new, name) for name in columns}
        return bool(self._members().filter(pk=row.pk, success=False).update(**changes))

    def _again(self, row: GroupMember, outcome: Outcome) -> Step | None:
        """What a member has owed since before: whoever noted its end did not come to send it."""
        if row.owes == Owed.NEXT:
            return next_link(row.pk, outcome, again=True)
        return self._fired(row.of, row.pk, Owed(row.owes), again=True) if row.owes in FLAGS else None

    def _forget_collected(self, ends: Iterable[End]) -> None:
        for end in ends:
            if end.place.role is Role.COLLECT and end.success:
                items = self._members().filter(of=end.place.of, position__gte=0)
                items.update(sealed_result=None)

    # ── groups ───────────────────────────────────────────────────────────────────────────────────

    def _count(self, of: str, tally: Tally, debtor: str | None) -> Step | None:
        """Count the ends of a group; what follows, if these were the last."""
        group = self._groups().filter(pk=of)
        # The row stays locked from here to the end of the transaction: who comes later sees our count.
        if not group.update(done=F("done") + tally.done, failed=F("failed") + tally.failed):
            self._members().filter(pk__in=tally.keys).update(**debt(Owed.COUNT, debtor, self._clock))
            return None
        total, done, failed = group.values_list("total", "done", "failed").get()
        if done < total:
            return None
        owed = Owed.FAILURE if failed else Owed.SUCCESS
        flag, _ = FLAGS[owed]
        if not group.filter(**{flag: False}).update(**{flag: True}):
            return None
        step = self._fired(of, tally.keys[-1], owed)
        if step is not None and debtor is not None:
            self._members().filter(pk=step.key).update(**debt(owed, debtor, self._clock))
        return step

    def _fired(self, of: str, key: str, owed: Owed, *, again: bool = False) -> Step | None:
        payload = self._groups().filter(pk=of).values_list(FLAGS[owed][1], flat=True).first()
        return Step(key, owed, payload, again=again) if payload else None

    # ── looking after it ─────────────────────────────────────────────────────────────────────────

    def overdue(self, debtor: str) -> list[Step]:
        """What should have been sent a while ago: whoever was about to do it has died. It is our debt now.

        Members of a group that was not there when they ended (its transaction was still open) are counted now.
        A chain is not meant: the message of the link that ended comes back by itself.
        """
        return self._session.run(lambda: self._overdue(debtor))

    def _overdue(self, debtor: str) -> list[Step]:
        late = self._members().filter(owed_since__lt=self._clock() - OVERDUE).defer("sealed_result")
        unsent = late.filter(owes__in=[Owed.SUCCESS, Owed.FAILURE])[:IDS_PER_QUESTION]
        ours = [row for row in unsent if self._taken_over(row, debtor, OVERDUE)]
        steps = [step for row in ours if (step := self._fired(row.of, row.pk, Owed(row.owes), again=True))]
        there = Exists(self._groups().filter(pk=OuterRef("of")))
        uncounted: dict[str, Tally] = defaultdict(Tally)
        for row in late.filter(there, owes=Owed.COUNT)[:IDS_PER_QUESTION]:
            if self._members().filter(pk=row.pk, owes=Owed.COUNT).update(**debt(Owed.NOTHING, None, self._clock)):
                add_to(uncounted[row.of], row.pk, done=1, failed=not row.success)
        return steps + [step for of, tally in uncounted.items() if (step := self._count(of, tally, debtor))]

    def prune(self) -> None:
        """Forget what ended long ago; looks now and then only."""
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNE_EVERY
        self._session.run(self._prune, patience=0)
        self._session.run(lambda: forget_old(self._session.alias), patience=0)

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

    def ended(self, group_id: str) -> int:
        """How many calls of a group have ended for good; 0 for a label that is no group."""
        if len(group_id) > ID_LENGTH:
            return 0
        return self._session.read(
            lambda: self._groups().filter(pk=group_id).values_list("done", flat=True).first() or 0
        )

    def members(self, of: str) -> list[GroupMember]:
        """Those that have ended, in their order; without what collects them."""
        ended = self._members().filter(of=of, position__gte=0)
        return self._session.read(lambda: list(ended.order_by("position")))

    def _members(self) -> QuerySet[GroupMember]:
        return GroupMember.objects.using(self._session.alias).order_by()

    def _groups(self) -> QuerySet[TaskGroup]:
        return TaskGroup.objects.using(self._session.alias).order_by()


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), IDS_PER_QUESTION):
        yield keys[start : start + IDS_PER_QUESTION]
