"""From what the next run of a schedule was calculated, and whether that still holds.

The next run is a moment in a column, and what it follows from may change without it: SQL writes another rule
into the row, by whatever way; the project gets a new time zone database, by which a local time is another moment.
So a row also keeps the text of its rule, and the local times that are meant by its next run and its anchor. Everything
here is a function of values.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from django_cluster.core.due import UNBOUNDED, RunWindow, first_run
from django_cluster.core.local_time import first_instant_of, to_local
from django_cluster.core.recurrence import RESOLUTION, Cron, Once, Recurrence, recurrence

NEVER = "-"
"""In place of a local time: there is no next run, and that was found out."""

PRECISION = timedelta(milliseconds=1)
"""A fixture keeps no smaller parts of a second."""


class RuleText(NamedTuple):
    """The columns that say when, as one text: ``D|||Europe/Amsterdam``."""

    code: str
    minutes: int | None
    cron: str
    zone: str
    """Name of the time zone of the schedule; empty = that of the project."""

    def __str__(self) -> str:
        return "|".join((self.code, "" if self.minutes is None else str(self.minutes), self.cron, self.zone))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ``ValueError`` for what is no such text."""
        code, minutes, rest = text.split("|", 2)
        cron, bar, zone = rest.rpartition("|")
        if not bar:
            raise ValueError(f"{text!r} is not the text of a rule.")
        return cls(code, int(minutes) if minutes else None, cron, zone)


class IntendedTime(NamedTuple):
    """A local time that is meant, and the moment that it was taken for."""

    local: datetime
    """Naive."""
    moment: datetime
    """Aware; naive without time zones."""
    zone: str = ""
    """Name of the zone; empty if it has none."""

    def __str__(self) -> str:
        """``2027-07-01T09:00:00+02:00[Europe/Amsterdam]``; the offset leads to the moment."""
        if self.moment.tzinfo is None:
            return self.local.isoformat()
        offset = self.local - self.moment.astimezone(UTC).replace(tzinfo=None)
        return f"{self.local.replace(tzinfo=timezone(offset)).isoformat()}[{self.zone}]"

    @classmethod
    def parse(cls, text: str) -> IntendedTime | None:
        """None for what is no such text."""
        iso, _, zone = text.partition("[")
        try:
            moment = datetime.fromisoformat(iso)
            if moment.tzinfo is None:
                return cls(moment, moment)
            return cls(moment.replace(tzinfo=None), moment.astimezone(UTC), zone.removesuffix("]"))
        except (ValueError, OverflowError):
            return None


def same_moment(one: datetime, other: datetime) -> bool:
    """Whether this is the same moment, as precisely as all ways to keep one are. An aware one is never a naive one."""
    return (one.tzinfo is None) == (other.tzinfo is None) and abs(one - other) < PRECISION


def zone_name(zone: tzinfo | None) -> str:
    """The name by which a zone is found again; empty for one that has none."""
    if zone is None:
        return ""
    return zone.key or "" if isinstance(zone, ZoneInfo) else str(zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRunPlan:
    """What the columns of a row say after its next run has been calculated."""

    next_run: datetime | None
    anchor: datetime | None
    local_next_run: str
    local_anchor: str
    planned_from: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleColumns:
    """What the columns of a row say now."""

    rule: RuleText
    next_run: datetime | None = None
    anchor: datetime | None = None
    local_next_run: str = ""
    """Empty: not calculated yet, or to be calculated again."""
    local_anchor: str = ""
    planned_from: str = ""
    """Text of the rule from which ``next_run`` was calculated; empty: it was not."""
    window: RunWindow = UNBOUNDED

    def after(self, plan: NextRunPlan) -> Self:
        """With what a revision says."""
        return replace(self, **asdict(plan))

    def rule_from(self, anchor: datetime, local_anchor: datetime | None = None) -> Recurrence:
        code, minutes, cron, _ = self.rule
        return recurrence(code, anchor=anchor, minutes=minutes, cron=cron, local_anchor=local_anchor)

    def rule_with_anchor(self, now: datetime, zone: tzinfo | None) -> Recurrence:
        """The rule of the row with its anchor. Raises ``ValueError`` for an unknown type."""
        if self.anchor is None:
            return self.rule_from(self.next_run or now)
        meant = IntendedTime.parse(self.local_anchor) if self.local_anchor else None
        known = meant is not None and same_moment(meant.moment, self.anchor) and meant.zone == zone_name(zone)
        return self.rule_from(self.anchor, meant.local if meant is not None and known else None)


def revise(columns: ScheduleColumns, now: datetime, zone: tzinfo | None) -> NextRunPlan | None:
    """What a row should say, or None if what it says holds.

    Raises ``ValueError``, ``ImportError`` or ``OverflowError`` for a rule that makes no sense.
    """
    text = str(columns.rule)
    if columns.next_run is None:
        if columns.planned_from == text and columns.local_next_run:
            return None
        return _first(columns, now, zone)
    meant = IntendedTime.parse(columns.local_next_run)
    if (
        not columns.planned_from
        or meant is None
        or not same_moment(meant.moment, columns.next_run)
        or columns.anchor is None
    ):
        # The next run was given: it stands, whatever the rule says, and the rule is counted from there.
        known = columns.planned_from == text and not columns.local_next_run and columns.anchor is not None
        return None if known else _planned(columns, columns.next_run, columns.rule_with_anchor(now, zone), zone)
    if columns.planned_from != text:
        return _by_another_rule(columns, meant, now, zone)
    rule = columns.rule_with_anchor(now, zone)
    anchor = IntendedTime.parse(columns.local_anchor)
    if anchor is None or not same_moment(anchor.moment, columns.anchor):
        kept = isinstance(rule, Cron | Once) or rule.includes(columns.next_run, zone)
        run = columns.next_run if kept else first_run(rule, now + RESOLUTION, zone, columns.window)
        return _planned(columns, run, rule, zone)
    if meant.zone != zone_name(zone):
        return _planned(columns, columns.next_run, rule, zone)
    moment = rule.at_local(meant.local, meant.moment, zone)
    return None if same_moment(moment, columns.next_run) else _planned(columns, moment, rule, zone)


def plan_for(columns: ScheduleColumns, next_run: datetime | None, rule: Recurrence, zone: tzinfo | None) -> NextRunPlan:
    """What a row says of this next run of this rule. The anchor is an occurrence, whatever happens to the zone."""
    anchor, text = rule.anchor, str(columns.rule)
    return NextRunPlan(
        next_run=next_run,
        anchor=anchor,
        local_next_run=local_text(rule, next_run, zone),
        local_anchor=local_text(rule, anchor, zone, rule.local_anchor),
        planned_from=text,
    )


def local_text(rule: Recurrence, moment: datetime | None, zone: tzinfo | None, local: datetime | None = None) -> str:
    """The text of the local time that is meant by an occurrence; ``local``: if that is known already."""
    if moment is None:
        return NEVER
    try:
        return str(IntendedTime(local or rule.local_of(moment, zone), moment, zone_name(zone)))
    except (OverflowError, ValueError):
        return ""  # at either end of the calendar its zone has no such time


def _planned(columns: ScheduleColumns, run: datetime | None, rule: Recurrence, zone: tzinfo | None) -> NextRunPlan:
    rule.check()
    return plan_for(columns, run, rule if run is None else rule.anchored_at(run, zone), zone)


def _first(columns: ScheduleColumns, now: datetime, zone: tzinfo | None) -> NextRunPlan:
    """The first run of a row that has no next run, or the run with which it goes on."""
    rule = columns.rule_with_anchor(now, zone)
    rule.check()
    if isinstance(rule, Cron) or columns.anchor is not None:
        return plan_for(columns, first_run(rule, now + RESOLUTION, zone, columns.window), rule, zone)
    start = columns.window.start
    run = now if start is None or start < now else start
    return plan_for(columns, columns.window.clip(run), replace(rule, anchor=run), zone)


def _by_another_rule(columns: ScheduleColumns, meant: IntendedTime, now: datetime, zone: tzinfo | None) -> NextRunPlan:
    """The rule has changed, and the next run has not: what the new one says comes next."""
    run, rule = meant.moment, columns.rule_with_anchor(now, zone)
    rule.check()
    if rule.on_local_clock and meant.zone != zone_name(zone) and _zone_was_changed(columns):
        # Nine o'clock remains nine o'clock, elsewhere.
        run = first_instant_of(meant.local, zone)
        anchor = IntendedTime.parse(columns.local_anchor)
        local = (
            anchor.local
            if anchor is not None and columns.anchor and same_moment(anchor.moment, columns.anchor)
            else meant.local
        )
        rule = columns.rule_from(first_instant_of(local, zone), local)
    if isinstance(rule, Cron):
        return plan_for(columns, first_run(rule, now + RESOLUTION, zone, columns.window), rule, zone)
    rule = rule.anchored_at(run, zone)
    if not isinstance(rule, Once) and not _was_postponed(columns, now, zone):
        return plan_for(columns, first_run(rule, now + RESOLUTION, zone, columns.window), rule, zone)
    return plan_for(columns, run, rule, zone)


def _zone_was_changed(columns: ScheduleColumns) -> bool:
    with suppress(ValueError):
        return RuleText.parse(columns.planned_from).zone != columns.rule.zone
    return False


def _was_postponed(columns: ScheduleColumns, now: datetime, zone: tzinfo | None) -> bool:
    """Whether the next run was said to be later than its rule would have had it: it is the beginning that was meant."""
    assert columns.next_run is not None
    with suppress(ValueError, ImportError, OverflowError):
        old = RuleText.parse(columns.planned_from)
        if old.code == Once.code:
            return columns.next_run > now
        rule = recurrence(old.code, anchor=columns.next_run, minutes=old.minutes, cron=old.cron)
        rule.check()
        earlier = rule.next_after(now, zone)
        return earlier is not None and earlier < columns.next_run
    return False


def matches_local_time(local: str, moment: datetime, zone: tzinfo | None) -> bool:
    """Whether the clock of the zone shows at this moment what is meant; True where nothing is known."""
    meant = IntendedTime.parse(local)
    return meant is None or same_moment(to_local(moment, zone), meant.local)
