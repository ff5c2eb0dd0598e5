"""Creates, updates and deletes the rows of the schedules that are declared in code.

Any number of clusters do this, with newer and older code at the same time. So a row is not deleted because *one*
program does not know its declaration, but when no running program has known it for ``UNDECLARED_AFTER``. Until then it
is fired only by programs that know it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from django.db import IntegrityError, transaction

from django_cluster.core.due import first_run
from django_cluster.core.events.schedules import DECLARED_SCHEDULE_EXISTS, DECLARED_SCHEDULE_INVALID
from django_cluster.models.schedule import PLAN, RULE, Schedule, ScheduleQuerySet
from django_cluster.models.schedule_seal import is_sealed, seal_of
from django_cluster.schedules.declarations import Declaration, declarations, discover

TOUCH_INTERVAL = timedelta(minutes=1)
"""How often a cluster writes that it knows its declarations."""
UNDECLARED_AFTER = timedelta(minutes=5)
"""Age of the last such note after which a row is deleted."""


class DeclarationSync:
    """The declarations of this program, and their rows in one database."""

    def __init__(self, alias: str, tz: tzinfo | None) -> None:
        """``tz``: the zone of schedules that name none."""
        self._alias = alias
        self._zone = tz
        self._complete = discover()
        self._known = {each.key: each for each in declarations()}
        self._next: datetime | None = None

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._known)

    def sync(self, now: datetime) -> None:
        """Update the rows when the cluster starts; later, write every minute that the declarations are known.

        Raises errors of the database; what was not done is done by the next call.
        """
        if self._next is None:
            self._bring_up_to_date(now)
        elif now >= self._next:
            self._rows().filter(declared__in=self.keys).update(declared_at=now)
        else:
            return
        others = self._delete_undeclared(now)
        self._next = now + TOUCH_INTERVAL if self._known or others else datetime.max.replace(tzinfo=now.tzinfo)

    def _rows(self) -> ScheduleQuerySet:
        return ScheduleQuerySet(Schedule, using=self._alias)

    def _bring_up_to_date(self, now: datetime) -> None:
        known = {row.declared: row for row in self._rows().filter(declared__in=self.keys)}
        for key, declaration in self._known.items():
            row = known.get(key)
            try:
                if row is None:
                    self._insert(declaration, now)
                else:
                    self._change(row, declaration, now)
            except (ValueError, TypeError, ImportError) as error:
                DECLARED_SCHEDULE_INVALID.log(schedule=key, error=error)
        self._rows().filter(declared__in=self.keys).update(declared_at=now)

    def _insert(self, declaration: Declaration, now: datetime) -> None:
        row = self._initial_row(declaration, now)
        try:
            with transaction.atomic(using=self._alias):
                row.save(using=self._alias, force_insert=True)
        except IntegrityError:
            DECLARED_SCHEDULE_EXISTS.log(schedule=declaration.key)

    def _initial_row(self, declaration: Declaration, now: datetime) -> Schedule:
        """The row as it is created."""
        columns = dict(declaration.columns)
        begin = columns.pop("next_run", None)
        row = Schedule(
            func=declaration.func, name=declaration.name, declared=declaration.key, declared_at=now, **columns
        )
        row.anchor = begin or (row.starts_at if row.starts_at and row.starts_at > now else now)
        rule, zone = row.rule(self._zone), row.zone(now, self._zone)
        if rule.next_after(row.anchor, zone) is None:
            # It runs once, even if its time has passed while no cluster was running. A count keeps the row, which
            # then says that it has run; without the row, the next start would create it again.
            row.next_run, row.repeats = row.anchor, max(1, row.repeats)
        else:
            row.next_run = first_run(rule, now, zone, row.window)
        row.plan_next_run(self._zone)
        return row

    def _change(self, row: Schedule, declaration: Declaration, now: datetime) -> None:
        """Write only what the declaration changed; whether it is enabled is for operators to say."""
        wanted = {"func": declaration.func, "name": declaration.name, **declaration.columns}
        begin = wanted.pop("next_run", None)
        changes = {name: value for name, value in wanted.items() if getattr(row, name) != value and name != "repeats"}
        if RULE & changes.keys() or self._start_changed(row, begin):
            fresh = self._initial_row(declaration, now)
            changes |= {name: getattr(fresh, name) for name in (*PLAN, "repeats")}
        for name, value in changes.items():
            setattr(row, name, value)
        if not is_sealed(row, lately=True):
            changes["seal"] = seal_of(row)
        if changes:
            self._rows().filter(pk=row.pk).update(**changes, claimed_until=None, last_error="")

    def _start_changed(self, row: Schedule, begin: datetime | None) -> bool:
        """Whether the declared start is not an occurrence of the row's rule any more."""
        if begin is None or row.next_run is None:
            return False
        rule, zone = row.rule(self._zone), row.zone(begin, self._zone)
        rule.check()
        return not rule.includes(begin, zone)

    def _delete_undeclared(self, now: datetime) -> bool:
        """Delete rows that no program declares any more; returns whether rows of other programs are left."""
        others = self._rows().exclude(declared__in=self.keys).filter(declared__isnull=False)
        if not others.exists():
            return False
        if self._complete:  # or else the rows may belong to a module that could not be imported here
            others.filter(declared_at__lte=now - UNDECLARED_AFTER).delete()
        return others.exists()
