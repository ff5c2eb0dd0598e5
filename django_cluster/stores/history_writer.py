"""Counts outcomes into the rows of history, in the transaction that saves them. One writer a cluster: its monitor.

The writer knows all that the rows of the current minutes count, and so replaces rows without reading them. What a
transaction has added becomes certain when it is committed, and is forgotten when it is rolled back: a batch that is
recorded again is counted once. A monitor that has died may have counted outcomes that its workers send again to the
next one; their numbers are in the rows that it wrote last.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import transaction

from django_cluster.core.histogram import MAX_SECONDS, add_to, bins_of
from django_cluster.core.messages import Outcome
from django_cluster.core.safe_text import storable
from django_cluster.core.time import storable_moment
from django_cluster.database.session import Session
from django_cluster.models import Rollup
from django_cluster.stores.history_rows import (
    COLUMNS,
    HISTORY_ROWS,
    RollupCounts,
    RollupKey,
    cleaned,
    counts_of,
    key_of,
)
from django_cluster.stores.rows import SUCCESS

MAX_LATE_SECONDS = 240.0
"""What has ended earlier than this counts as if it had ended this many seconds ago: older rows are merged by others."""
FORGET_SECONDS = 600.0
"""Age of a minute, in seconds, at which the writer forgets what it counts."""
MAX_KEYS_PER_MINUTE = 500
"""Rows that one cluster writes for one minute; what is beyond counts for a function without a name."""
MAX_ERROR_CHARACTERS = 500
"""Characters kept of the last error."""

UNCOUNTED = frozenset({"snoozed", "duplicate"})
"""Statuses that are no end of a run."""
RAN = frozenset({"success", "failure", "timeout", "lost", "dead"})
"""Statuses of which waiting and running times are counted: a function was called."""

ShortKey = tuple[int, str, str, str, str]
"""Start of the minute, queue, function, status, kind of error."""
Layer = dict[ShortKey, RollupCounts]


@dataclass(eq=False, slots=True)
class Uncertain:
    """What one ``write`` has counted, until its transaction is committed."""

    layer: Layer
    deferred: list[Outcome]
    """The outcomes among it that ``defer`` was given."""
    commit: Callable[[], None] = lambda: None


class HistoryWriter:
    """Belongs to the thread that saves outcomes."""

    def __init__(self, cluster: str, session: Session, clock: Callable[[], float] = time.time) -> None:
        """``cluster``: the id of the cluster, the same for all monitors that it will have."""
        self._cluster, self._session, self._clock = cluster, session, clock
        self._committed: Layer | None = None
        self._uncertain: list[Uncertain] = []
        self._counted_before: set[int] = set()
        self._deferred: list[Outcome] = []
        self._full: set[int] = set()
        """Minutes that have as many rows as they may have."""

    def defer(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes that leave no row with the next ``write``: they cost no transaction of their own."""
        self._deferred += [without_contents(each) for each in outcomes]

    @property
    def deferred(self) -> int:
        """How many outcomes wait for the next ``write``."""
        return len(self._deferred)

    def write(self, outcomes: Sequence[Outcome] = ()) -> None:
        """Count outcomes. Must be called in the transaction that saves them. Raises errors of the database."""
        self._drop_rolled_back()
        if self._committed is None:
            self._committed = self._load()
        layer: Layer = {}
        numbers: dict[ShortKey, list[int]] = {}
        self._add((*self._deferred, *outcomes), layer, numbers)
        if not layer:
            return
        for key, counts in layer.items():
            _, _, previous = counts.counted.rpartition(";")
            counts.counted = f"{previous};{ranges(numbers[key])}"
        self._write(layer)
        uncertain = Uncertain(layer, self._deferred)
        uncertain.commit = partial(self._commit, uncertain)
        self._uncertain.append(uncertain)
        self._deferred = []
        transaction.on_commit(uncertain.commit, using=self._session.alias)

    def _add(self, outcomes: Iterable[Outcome], layer: Layer, numbers: dict[ShortKey, list[int]]) -> None:
        """Count outcomes into ``layer``; ``numbers``: of the jobs that each of its keys has counted."""
        now, minute, counted_before = self._clock(), Rollup.MINUTE, self._counted_before
        earliest = now - MAX_LATE_SECONDS
        groups: defaultdict[ShortKey, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            status, moment, failure = outcome.status, outcome.stopped_at, outcome.failure
            if status in UNCOUNTED or (counted_before and outcome.number in counted_before):
                continue
            if not earliest < moment <= now:
                moment = earliest if moment < now else now
            start = int(moment) // minute * minute
            groups[start, outcome.queue, outcome.func, status, failure[0] if failure else ""].append(outcome)
        for given, group in groups.items():
            key, counts = self._open(given, layer)
            numbers.setdefault(key, []).extend([outcome.number for outcome in group])
            count(counts, group, ran=key[3] in RAN)

    def _open(self, key: ShortKey, layer: Layer) -> tuple[ShortKey, RollupCounts]:
        """The counts of a key, which is in ``layer`` from now on; the key is another one if there are too many."""
        key = cleaned(*key)
        known = self._known(key)
        if known is None and key not in layer and self._is_full(key[0], layer):
            key = (key[0], key[1], "", key[3], "")
            known = self._known(key)
        if key not in layer:
            layer[key] = known.copy() if known else RollupCounts()
        return key, layer[key]

    def _known(self, key: ShortKey) -> RollupCounts | None:
        """What is counted so far, in this transaction or before it."""
        for uncertain in reversed(self._uncertain):
            if key in uncertain.layer:
                return uncertain.layer[key]
        return (self._committed or {}).get(key)

    def _is_full(self, start: int, layer: Layer) -> bool:
        if start in self._full:
            return True
        everything = (self._committed or {}, *(each.layer for each in self._uncertain), layer)
        if sum(map(len, everything)) < MAX_KEYS_PER_MINUTE:
            return False
        if len({key for each in everything for key in each if key[0] == start}) >= MAX_KEYS_PER_MINUTE:
            self._full.add(start)
        return start in self._full

    def _write(self, layer: Layer) -> None:
        minute = Rollup.MINUTE
        rows = [counts.values(RollupKey(self._cluster, minute, *key)) for key, counts in layer.items()]
        rows.sort()  # by primary key: rows are always locked in this order
        HISTORY_ROWS.write(self._session.connection, COLUMNS, rows)

    # ── what is certain ──────────────────────────────────────────────────────────────────────────

    def _commit(self, uncertain: Uncertain) -> None:
        assert self._committed is not None
        self._uncertain.remove(uncertain)
        self._committed.update(uncertain.layer)
        oldest = self._clock() - FORGET_SECONDS
        if min(key[0] for key in self._committed) < oldest:
            self._committed = {key: counts for key, counts in self._committed.items() if key[0] >= oldest}
            self._full = {start for start in self._full if start >= oldest}

    def _drop_rolled_back(self) -> None:
        """Forget what transactions have added that were rolled back: Django has forgotten their callbacks."""
        if self._uncertain:
            waiting = [callback for _, callback, *_ in self._session.connection.run_on_commit]
            for each in [each for each in self._uncertain if each.commit not in waiting]:
                self._uncertain.remove(each)
                self._deferred = [*each.deferred, *self._deferred]

    def _load(self) -> Layer:
        """What the last monitor of this cluster has counted in the current minutes."""
        since = int(self._clock() - FORGET_SECONDS)
        rows = Rollup.objects.using(self._session.alias).filter(
            cluster=self._cluster, step=Rollup.MINUTE, start__gte=since
        )
        loaded: Layer = {}
        for row in rows:
            key = key_of(row)
            loaded[key.start, key.queue, key.func, key.status, key.error_kind] = counts_of(row)
            self._counted_before.update(numbers_in(row.counted))
        return loaded


def count(counts: RollupCounts, outcomes: Sequence[Outcome], *, ran: bool) -> None:
    """Add outcomes of one key to its counts. ``ran``: whether their function was called."""
    counts.runs += len(outcomes)
    if ran:
        runs = [outcome.stopped_at - outcome.started_at for outcome in outcomes]
        waits = [
            outcome.started_at - (ready_at(outcome) if outcome.options else outcome.enqueued_at)
            for outcome in outcomes
            if outcome.attempt == 1
        ]
        counts.waits += len(waits)
        counts.run_seconds += total(runs)
        counts.wait_seconds += total(waits)
        add_to(counts.run_bins, Counter(bins_of(runs)))
        add_to(counts.wait_bins, Counter(bins_of(waits)))
    last = outcomes[-1]
    if last.status == SUCCESS:
        return
    counts.retried += sum(not outcome.final for outcome in outcomes)
    if last.failure:
        counts.last_error = storable(last.failure[1][:MAX_ERROR_CHARACTERS]) or ""
        counts.last_task, counts.last_at = storable(last.id, 32) or "", storable_moment(last.stopped_at)


def without_contents(outcome: Outcome) -> Outcome:
    """An outcome without its large fields, which are not counted."""
    return outcome._replace(arguments=None, result=None, payload=None, tracked_end=None, post_mortem=None)


def ready_at(outcome: Outcome) -> float:
    """The moment from which it waited: that of sending, or the one to which it was delayed."""
    return max(outcome.enqueued_at, outcome.options.get("not_before") or 0.0)


def total(durations: Sequence[float]) -> float:
    """The sum of durations, in seconds; those that a clock which was set has made impossible count nothing."""
    found = sum(durations)
    if min(durations, default=0.0) >= 0 and found < MAX_SECONDS:
        return found
    return sum(each for each in durations if 0 < each < MAX_SECONDS)


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as text: ``5-9,12-12``. Those that are not positive are left out: they name no job."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number <= found[-1][1] + 1:
            found[-1][1] = number
        elif number > 0:
            found.append([number, number])
    return ",".join(f"{first}-{last}" for first, last in found)


def numbers_in(text: str) -> set[int]:
    """The numbers in texts of ``ranges`` that are separated by semicolons."""
    parts = (part.split("-") for part in text.replace(";", ",").split(",") if part)
    return {number for first, last in parts for number in range(int(first), int(last) + 1)}
