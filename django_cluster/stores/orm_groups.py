"""Compositions in the database: which members have ended, and which steps are still to be sent because of it.

All of it happens in the transaction that writes the rows of the tasks. Any number of recorders may note the
same end at the same time: a place is taken by one ``INSERT``, the ends of a group are counted by one ``UPDATE``, and
what follows is claimed by another, each of which a database does atomically.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from django.db import IntegrityError
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from django_cluster.core.batching import batches
from django_cluster.core.compositions import (
    CLAIM_EXPIRES_AFTER,
    MemberRole,
    NextSteps,
    PendingStep,
    Step,
    membership_of,
    next_link,
)
from django_cluster.core.events.servers import DUPLICATE_UNKNOWN
from django_cluster.core.messages import Outcome, TaskHeader
from django_cluster.database.clock import DatabaseServerClock
from django_cluster.database.session import Session
from django_cluster.errors import StoreUnavailable
from django_cluster.models import GroupMember, TaskGroup
from django_cluster.stores.base import GroupStore
from django_cluster.stores.group_retention import forget_old
from django_cluster.stores.member_outcomes import (
    GroupCounts,
    MemberOutcome,
    add_to,
    claim_columns,
    counts_by_group,
    member_outcomes,
    next_step,
    row_of,
)
from django_cluster.stores.member_rows import insert

IDS_PER_QUERY = 500
ID_LENGTH = 32
"""Characters of the id of a group."""
OVERDUE_AFTER = timedelta(seconds=30)
"""Age of a claim after which any recorder may take the step over."""
KEEP_ENDED_FOR = timedelta(days=7)
"""For which an ended composition is remembered: a repeated message of it is known, a failed member may be repaired."""
PRUNE_INTERVAL_SECONDS = 600.0
"""Seconds."""

FLAGS = {PendingStep.SUCCESS: ("success_sent", "on_success"), PendingStep.FAILURE: ("failure_sent", "on_failure")}


class OrmGroups(GroupStore):
    """The compositions in one database."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._clock = DatabaseServerClock(session.alias)  # hosts must agree on the age of a claim
        self._prune_at = 0.0

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def create(self, group_id: str, total: int, on_success: str, on_failure: str) -> None:
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

    def record_ends(self, outcomes: Sequence[Outcome], *, claimed_by: str | None) -> NextSteps:
        """Record that members have ended; returns what is to be sent, also what was claimed before and not sent.

        Must be called in the transaction that saves the outcomes. The steps are remembered as claimed by ``claimed_by``
        until ``mark_sent`` says that they were sent; with None, they are sent in the same transaction.
        """
        ends = member_outcomes(outcomes)
        known = self._known(list(ends))
        new = insert(
            self._session, [row_of(end, claimed_by, self._clock) for key, end in ends.items() if key not in known]
        )
        repaired = {key for key, row in known.items() if self._repair(row, ends[key], claimed_by)}
        news = {key: end for key, end in ends.items() if key in new or key in repaired}
        steps = [step for key, end in news.items() if (step := next_step(end, new=key in new))]
        for of, counts in counts_by_group(news, new).items():
            if step := self._count(of, counts, claimed_by):
                steps.append(step)
        self._forget_collected(news.values())
        return self._add_pending(steps, {key: known[key] for key in known.keys() - repaired}, ends, claimed_by)

    def _add_pending(
        self,
        steps: list[Step],
        known: Mapping[str, GroupMember],
        ends: Mapping[str, MemberOutcome],
        claimed_by: str | None,
    ) -> NextSteps:
        """Add pending steps that this recorder has claimed, or whose claim has expired; other messages have to wait."""
        waiting = []
        for key, row in known.items():
            if row.pending_step in (PendingStep.NOTHING, PendingStep.COUNT):
                continue
            if row.claimed_by != claimed_by and not self._take_over(row, claimed_by, CLAIM_EXPIRES_AFTER):
                waiting.append(ends[key].outcome.id)
            elif step := self._step_again(row, ends[key].outcome):
                steps.append(step)
        return NextSteps(steps, frozenset(waiting))

    def _take_over(self, row: GroupMember, claimed_by: str | None, after: timedelta) -> bool:
        """Take over a claim that is older than ``after``; only one recorder can."""
        if row.claimed_at is None or row.claimed_at > self._clock() - after:
            return False
        same = self._members().filter(
            pk=row.pk, pending_step=row.pending_step, claimed_by=row.claimed_by, claimed_at=row.claimed_at
        )
        return bool(same.update(claimed_by=claimed_by or "", claimed_at=self._clock()))

    def mark_sent(self, steps: Sequence[Step]) -> None:
        """Clear the pending steps that were sent."""
        for kind in {step.kind for step in steps}:
            keys = [step.key for step in steps if step.kind is kind]
            self._session.run(lambda keys=keys, kind=kind: self._mark_sent(keys, kind))  # type: ignore[misc]

    def _mark_sent(self, keys: Sequence[str], kind: PendingStep) -> None:
        self._members().filter(pk__in=keys, pending_step=kind).update(
            **claim_columns(PendingStep.NOTHING, None, self._clock)
        )

    def _known(self, keys: Sequence[str]) -> dict[str, GroupMember]:
        found = self._members().defer("sealed_result", "error")
        return {row.pk: row for part in batches(keys, most=IDS_PER_QUERY) for row in found.filter(pk__in=part)}

    def _repair(self, row: GroupMember, end: MemberOutcome, claimed_by: str | None) -> bool:
        """Whether a place that had failed has succeeded now: it was sent again."""
        if row.success or not end.success:
            return False
        changed = row_of(end, claimed_by, self._clock)
        columns = ("success", "task", "pending_step", "claimed_by", "claimed_at", "sealed_result", "error", "noted_at")
        changes = {name: getattr(changed, name) for name in columns}
        return bool(self._members().filter(pk=row.pk, success=False).update(**changes))

    def _step_again(self, row: GroupMember, outcome: Outcome) -> Step | None:
        """The step of a member whose end was recorded before, by a recorder that did not send it."""
        if row.pending_step == PendingStep.NEXT:
            return next_link(row.pk, outcome, again=True)
        return (
            self._group_step(row.of, row.pk, PendingStep(row.pending_step), again=True)
            if row.pending_step in FLAGS
            else None
        )

    def _forget_collected(self, ends: Iterable[MemberOutcome]) -> None:
        for end in ends:
            if end.place.role is MemberRole.COLLECT and end.success:
                items = self._members().filter(of=end.place.of, position__gte=0)
                items.update(sealed_result=None)

    # ── groups ───────────────────────────────────────────────────────────────────────────────────

    def _count(self, of: str, counts: GroupCounts, claimed_by: str | None) -> Step | None:
        """Count the ends of a group; what follows, if these were the last."""
        group = self._groups().filter(pk=of)
        # The row stays locked from here to the end of the transaction: who comes later sees our count.
        if not group.update(done=F("done") + counts.done, failed=F("failed") + counts.failed):
            self._members().filter(pk__in=counts.keys).update(
                **claim_columns(PendingStep.COUNT, claimed_by, self._clock)
            )
            return None
        total, done, failed = group.values_list("total", "done", "failed").get()
        if done < total:
            return None
        kind = PendingStep.FAILURE if failed else PendingStep.SUCCESS
        flag, _ = FLAGS[kind]
        if not group.filter(**{flag: False}).update(**{flag: True}):
            return None
        step = self._group_step(of, counts.keys[-1], kind)
        if step is not None and claimed_by is not None:
            self._members().filter(pk=step.key).update(**claim_columns(kind, claimed_by, self._clock))
        return step

    def _group_step(self, of: str, key: str, kind: PendingStep, *, again: bool = False) -> Step | None:
        payload = self._groups().filter(pk=of).values_list(FLAGS[kind][1], flat=True).first()
        return Step(key, kind, payload, again=again) if payload else None

    # ── looking after it ─────────────────────────────────────────────────────────────────────────

    def claim_overdue(self, claimed_by: str) -> list[Step]:
        """Claim the steps that are overdue: the recorder that had claimed them has died.

        Members of a group that was not there when they ended (its transaction was still open) are counted now.
        A chain is not meant: the message of the link that ended comes back by itself.
        """
        return self._session.run(lambda: self._claim_overdue(claimed_by))

    def _claim_overdue(self, claimed_by: str) -> list[Step]:
        late = self._members().filter(claimed_at__lt=self._clock() - OVERDUE_AFTER).defer("sealed_result")
        unsent = late.filter(pending_step__in=[PendingStep.SUCCESS, PendingStep.FAILURE])[:IDS_PER_QUERY]
        ours = [row for row in unsent if self._take_over(row, claimed_by, OVERDUE_AFTER)]
        steps = [
            step
            for row in ours
            if (step := self._group_step(row.of, row.pk, PendingStep(row.pending_step), again=True))
        ]
        there = Exists(self._groups().filter(pk=OuterRef("of")))
        uncounted: dict[str, GroupCounts] = defaultdict(GroupCounts)
        for row in late.filter(there, pending_step=PendingStep.COUNT)[:IDS_PER_QUERY]:
            if (
                self._members()
                .filter(pk=row.pk, pending_step=PendingStep.COUNT)
                .update(**claim_columns(PendingStep.NOTHING, None, self._clock))
            ):
                add_to(uncounted[row.of], row.pk, done=1, failed=not row.success)
        return steps + [step for of, counts in uncounted.items() if (step := self._count(of, counts, claimed_by))]

    def prune(self) -> None:
        """Forget what ended long ago; looks now and then only."""
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNE_INTERVAL_SECONDS
        self._session.run(self._prune, retry_seconds=0)
        self._session.run(lambda: forget_old(self._session.alias), retry_seconds=0)

    def _prune(self) -> None:
        since = timezone.now() - KEEP_ENDED_FOR
        unfinished = Exists(self._groups().filter(pk=OuterRef("of"), done__lt=F("total")))
        old = self._members().filter(
            ~unfinished, pending_step__in=[PendingStep.NOTHING, PendingStep.COUNT], noted_at__lt=since
        )
        self._members().filter(pk__in=list(old.values_list("pk", flat=True)[:IDS_PER_QUERY])).delete()
        remembered = Exists(self._members().filter(of=OuterRef("pk")))
        ended = self._groups().filter(~remembered, done__gte=F("total"), created_at__lt=since)
        self._groups().filter(pk__in=list(ended.values_list("pk", flat=True)[:IDS_PER_QUERY])).delete()

    def forget(self, group_id: str) -> None:
        """Delete a group and its members; what follows it is never sent."""
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
            DUPLICATE_UNKNOWN.log(task_id=header.id, error=error)
            return False

    def ended(self, group_id: str) -> int:
        """How many calls of a group have ended for good; 0 for a label that is no group."""
        if len(group_id) > ID_LENGTH:
            return 0
        return self._session.read(
            lambda: self._groups().filter(pk=group_id).values_list("done", flat=True).first() or 0
        )

    def has_ended(self, group_id: str) -> bool:
        """Whether all calls of a group have ended for good; False for what is no group."""
        whole = self._groups().filter(pk=group_id, done__gte=F("total"))
        return len(group_id) <= ID_LENGTH and self._session.read(whole.exists)

    def members(self, of: str) -> list[GroupMember]:
        """The members that have ended, by position; without the task that collects them."""
        ended = self._members().filter(of=of, position__gte=0)
        return self._session.read(lambda: list(ended.order_by("position")))

    def _members(self) -> QuerySet[GroupMember]:
        return GroupMember.objects.using(self._session.alias).order_by()

    def _groups(self) -> QuerySet[TaskGroup]:
        return TaskGroup.objects.using(self._session.alias).order_by()
