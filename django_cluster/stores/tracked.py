"""The rows of tracked tasks: sent, begun, ended. Each change is one statement, and fenced by the number of the run.

``TrackedTask.attempt`` grows with each run that begins. A run that is not the last changes nothing any more, so that a
worker that comes back after its lease has ended cannot overwrite what its successor writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.backends.utils import CursorWrapper
from django.db.models import Q, QuerySet
from django.utils import timezone

from django_cluster.core.batching import batches
from django_cluster.core.headers import PRIORITIES
from django_cluster.core.messages import TaskHeader
from django_cluster.core.reprs import repr_of
from django_cluster.core.row_insert import RowInsert
from django_cluster.core.safe_text import storable
from django_cluster.core.task_status import ENDED, WAITING, TaskStatus
from django_cluster.core.time import nearest_unix_time
from django_cluster.database.dialect import is_postgresql
from django_cluster.database.row_insert import insert_of, insert_rows
from django_cluster.database.row_update import update_row, update_rows
from django_cluster.models import TrackedTask
from django_cluster.models.tracked_task import tracked_tasks
from django_cluster.stores.abandoned_runs import is_abandoned
from django_cluster.stores.run_ends import RunEnd, write_ends
from django_cluster.stores.session import results_session
from django_cluster.stores.tracked_runs import (
    NEVER_BEGUN,
    NOT_BEGUN,
    BegunRun,
    Refusal,
    next_run,
    refusal_of,
    running_values,
    written_ahead,
)

ROWS_PER_STATEMENT = 200
SECONDS_PER_DAY = 86_400
MAX_UNSENT = 10_000
"""Most unsent tasks that are cancelled together."""
CAS_TRIES = 5
"""How often a row that others change at the same moment is read again."""
ENDED_ORDERED = tuple(sorted(ENDED))
IDS_WITHOUT_END = (
    f"SELECT id FROM {TrackedTask._meta.db_table} WHERE id IN ({{}})"  # noqa: S608  our own table
    f" AND status NOT IN ({', '.join(['%s'] * len(ENDED))})"
)


class SendingDetails(NamedTuple):
    """What a row says of a task beside its header."""

    queue_name: str = ""
    """The queue as Django's Tasks framework calls it."""
    arguments: Any = None
    """``[args, kwargs]`` as JSON knows them, for tasks of the framework."""
    metadata: Any = None

    def __repr__(self) -> str:
        return repr_of(self, "queue_name")


def moment(unix_time: float) -> datetime:
    """Unix time → a value of a ``DateTimeField``, with ``USE_TZ`` or without; the nearest one from 1970 to 9999."""
    aware = datetime.fromtimestamp(nearest_unix_time(unix_time), UTC)
    return aware if timezone.is_aware(timezone.now()) else timezone.make_naive(aware, timezone.get_default_timezone())


def new_row(header: TaskHeader, details: SendingDetails, queue: str | None) -> TrackedTask:
    """The row of a task that is about to be sent to this queue."""
    options = header.options
    later = options.not_before is not None and options.not_before > header.enqueued_at
    return TrackedTask(
        id=header.id,
        name=storable(header.name, 100) or "",
        func=storable(header.func, 256) or "",
        group=storable(options.group, 100),
        queue=storable(queue, 100),
        broker=storable(options.broker, 100),
        status=TaskStatus.SCHEDULED if later else TaskStatus.QUEUED,
        priority=max(PRIORITIES[0], min(options.priority, PRIORITIES[-1])),  # a header may have any whole number
        run_after=None if options.not_before is None else moment(options.not_before),
        enqueued_at=moment(header.enqueued_at),
        backend=storable(options.backend, 100),
        queue_name=storable(details.queue_name, 100) or "",
        arguments=details.arguments,
        metadata=details.metadata,
    )


class TrackedTasks:
    """The table of tracked tasks in one database. All methods raise ``StoreUnavailable``."""

    def __init__(self, alias: str) -> None:
        self.database = alias
        self._session = results_session(alias)

    @property
    def _rows(self) -> QuerySet[TrackedTask]:
        return tracked_tasks(self.database)

    def _update(self, rows: QuerySet[TrackedTask], **changes: Any) -> int:
        """One statement; how many rows it changed."""
        return self._session.execute(lambda _: rows.update(**changes))

    def _update_rows(self, ids: Sequence[str], changes: Mapping[str, Any], where: Mapping[str, Any]) -> int:
        """Change rows; how many. If the server forgets it, the messages are still there, and are leased again."""
        return self._session.execute(
            lambda cursor: update_rows(cursor, TrackedTask, ids, changes, where=where, lazy=True)
        )

    def _update_row(self, task_id: str, changes: Mapping[str, Any], where: Mapping[str, Any], *, lazy: bool) -> bool:
        return self._session.execute(
            lambda cursor: update_row(cursor, TrackedTask, task_id, changes, where=where, lazy=lazy)
        )

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside are kept together, or none of them; a savepoint where a transaction is open."""
        return self._session.transaction()

    # ── the sender ───────────────────────────────────────────────────────────────────────────────

    def add(self, rows: Sequence[TrackedTask]) -> None:
        """Insert the rows of tasks that are about to be sent, in the caller's transaction if there is one."""

        def insert(cursor: CursorWrapper, again: bool = False) -> None:
            for batch in batches(rows, most=ROWS_PER_STATEMENT):
                insert_rows(cursor, batch, known=again)

        several = len(rows) > ROWS_PER_STATEMENT
        self._session.execute(insert, atomic=several, again=lambda cursor: insert(cursor, again=True))

    def insert_of(self, rows: Sequence[TrackedTask]) -> RowInsert | None:
        """The statement of ``add``, for those who send the messages in the same one; None where that is not possible:
        the database is not PostgreSQL, or there are too many rows."""
        connection = self._session.connection
        if not is_postgresql(connection) or len(rows) > ROWS_PER_STATEMENT:
            return None
        return insert_of(connection, rows)

    def forget(self, ids: Sequence[str]) -> None:
        """Delete the rows of tasks that could not be sent."""
        self._session.execute(lambda _: self._rows.filter(pk__in=ids).delete())

    def note_sent(self, ids: Sequence[str]) -> None:
        """The broker has these messages: the rows need not keep them any longer."""
        for batch in batches(ids, most=ROWS_PER_STATEMENT):
            self._update(self._rows.filter(pk__in=batch), payload=None)

    def unsent(self, older_than: float, queue: str, limit: int = ROWS_PER_STATEMENT) -> list[TrackedTask]:
        """Tasks of a queue that were written down this many seconds ago, and whose message has not reached its broker.

        Tasks that name a broker of their own are not among them.
        """
        before = moment(time.time() - older_than)
        rows = self._rows.filter(queue=queue, status__in=WAITING, enqueued_at__lt=before, broker__isnull=True)
        unsent = rows.filter(payload__isnull=False).order_by("enqueued_at")
        return self._session.read(lambda: list(unsent[:limit]))

    def prune(self, days: float, limit: int = ROWS_PER_STATEMENT) -> int:
        """Delete rows of tasks that have ended this many days ago, at most ``limit``; returns how many."""
        before = moment(time.time() - days * SECONDS_PER_DAY)
        old = self._rows.filter(finished_at__lt=before, status__in=ENDED).order_by("finished_at")
        ids = self._session.read(lambda: list(old.values_list("pk", flat=True)[:limit]))
        if ids:
            self._session.execute(lambda _: self._rows.filter(pk__in=ids).delete())
        return len(ids)

    def reopen(self, ids: Sequence[str]) -> None:
        """The messages of these tasks are sent again under the same ids."""
        changes: dict[str, Any] = {"status": TaskStatus.QUEUED, "delivery": 0, "finished_at": None}
        self._update(self._rows.filter(pk__in=ids), **changes)

    def cancel(self, ids: Sequence[str]) -> None:
        """The messages of these tasks were taken out of their queue."""
        changes: dict[str, Any] = {"status": TaskStatus.CANCELLED, "finished_at": moment(time.time()), "payload": None}
        for batch in batches(ids, most=ROWS_PER_STATEMENT):
            self._update(self._rows.filter(pk__in=batch, status__in=WAITING), **changes)

    def unsent_of(self, names: Sequence[str]) -> list[TrackedTask]:
        """Tasks with one of these ids or group labels whose message has not reached its broker, as far as is known."""
        rows = self._rows.filter(Q(pk__in=names) | Q(group__in=names), status__in=WAITING, payload__isnull=False)
        return self._session.read(lambda: list(rows[:MAX_UNSENT]))

    def cancel_row(self, row: TrackedTask) -> bool:
        """Cancel a waiting task, unless its row has changed since it was read; no run of it can begin any more."""
        return self.change(row, status=TaskStatus.CANCELLED, finished_at=moment(time.time()), payload=None)

    # ── the worker ───────────────────────────────────────────────────────────────────────────────

    def begin_ahead(self, deliveries: Mapping[str, int], worker: str, now: float) -> dict[str, BegunRun]:
        """Write down that a worker runs these tasks for the first time, now or in a moment: task id → ``Job.attempt``.

        Returns the runs that are written by task id; the others are not first runs, or have no row yet. One statement,
        if all are deliveries of one number.
        """
        began = moment(now)
        run = BegunRun(1, began, began, (worker,), ())
        begun: list[str] = []
        for delivery in set(deliveries.values()):
            ids = [task_id for task_id, number in deliveries.items() if number == delivery]
            changes = running_values(run, -delivery)
            if self._update_rows(ids, changes, NEVER_BEGUN) < len(ids):
                mine = self._rows.filter(pk__in=ids, delivery=-delivery, **written_ahead(worker))
                ids = self._session.read(lambda mine=mine: list(mine.values_list("pk", flat=True)))  # type: ignore[misc]
            begun += ids
        return dict.fromkeys(begun, run)

    def take_back(self, ids: Sequence[str], worker: str) -> None:
        """The worker will not run these tasks, which it has written down ahead."""
        self._update_rows(ids, NOT_BEGUN, written_ahead(worker))

    def begin(
        self,
        header: TaskHeader,
        delivery: int,
        worker: str,
        now: float,
        details: Callable[[], SendingDetails],
        *,
        handed_over: bool = False,
    ) -> BegunRun | Refusal:
        """Write down that a worker runs the task now. ``delivery``: ``Job.attempt``. ``now``: Unix time.

        ``details``: called for a task without a row, which gets one. ``handed_over``: ``Job.again``.
        """
        began = moment(now)
        first = BegunRun(1, began, began, (worker,), ())
        # Lazily: if the server forgets that the task runs, its message is still there, and is leased again.
        if self._update_row(header.id, running_values(first, delivery), NEVER_BEGUN, lazy=True):
            return first
        for _ in range(CAS_TRIES):
            row = self._session.read(lambda: self._rows.filter(pk=header.id).first())
            if row is None:
                self.add([new_row(header, details(), header.options.queue)])
                row = self._session.read(lambda: self._rows.get(pk=header.id))
            refusal = refusal_of(row, delivery, worker, handed_over=handed_over)
            if refusal is not None and (refusal.ended or not is_abandoned(row, self.database, now)):
                return refusal
            run = next_run(row, delivery, worker, began)
            unchanged = self._rows.filter(pk=row.pk, attempt=row.attempt, status=row.status)
            if run.attempt == row.attempt or self._update(unchanged, **running_values(run, delivery)):
                return run
        return Refusal(ended=False)

    def end(self, task_id: str, run: BegunRun, *, lazy: bool = False, **changes: Any) -> bool:
        """Write down how a run ended; False if it is not the last run of the task any more.

        ``lazy``: another commit on the same server follows before the message is acknowledged, and makes this one
        durable, too. If the server crashes in between, the task is leased again.
        """
        return self._update_row(task_id, changes, {"attempt": run.attempt, "status": TaskStatus.RUNNING}, lazy=lazy)

    def metadata_of(self, task_id: str) -> Any:
        """The metadata of a task."""
        return self._session.read(lambda: self._rows.filter(pk=task_id).values_list("metadata", flat=True).first())

    def save_metadata(self, task_id: str, run: BegunRun, metadata: Any) -> None:
        """Write the metadata of a task that is running, unless a later run has begun."""
        mine = self._rows.filter(pk=task_id, attempt=run.attempt)
        self._update(mine, metadata=metadata)

    # ── the monitor ──────────────────────────────────────────────────────────────────────────────

    def end_all(self, ends: Iterable[RunEnd]) -> list[str]:
        """Write how runs ended; returns the ids of the tasks whose row says so now.

        The others have a later run, or their row does not say that they run: it was changed, or the database has
        forgotten it.
        """
        given = list(ends)
        return self._session.execute(lambda cursor: write_ends(cursor, given)) if given else []

    def unfinished(self, ids: Sequence[str]) -> list[TrackedTask]:
        """The rows among these that have no end yet, in the order of their ids. Nearly always there are none."""
        ids = self._session.read(lambda: self._without_end(ids))
        if not ids:
            return []
        rows = self._rows.filter(pk__in=ids).exclude(status__in=ENDED).defer("arguments", "return_value", "metadata")
        return self._session.read(lambda: list(rows.order_by("pk")))

    def _without_end(self, ids: Sequence[str]) -> list[str]:
        """Which of these have no end yet. In plain SQL: this is asked after every run."""
        with self._session.connection.cursor() as cursor:
            cursor.execute(IDS_WITHOUT_END.format(", ".join(["%s"] * len(ids))), [*ids, *ENDED_ORDERED])
            return [task_id for (task_id,) in cursor.fetchall()]

    def change(self, row: TrackedTask, **changes: Any) -> bool:
        """Change a row, unless it has changed since it was read; whether it did."""
        same = self._rows.filter(pk=row.pk, attempt=row.attempt, status=row.status)
        return bool(self._update(same, **changes))

    # ── readers ──────────────────────────────────────────────────────────────────────────────────

    def get(self, task_id: str) -> TrackedTask | None:
        """The row of a task."""
        return self._session.read(lambda: self._rows.filter(pk=task_id).first())
