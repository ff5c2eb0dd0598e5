"""Task rows: written in batches, read one by one, pruned now and then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from django.db import router

from django_cluster.core.batching import batches
from django_cluster.core.events.servers import PRUNING_POSTPONED
from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.core.settings import ResultSettings
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Schedule, Task
from django_cluster.models.pruned_group import ensure_whole
from django_cluster.models.task import saved_tasks
from django_cluster.models.task_queries import TaskQuerySet
from django_cluster.stores.base import ResultStore
from django_cluster.stores.checkpoints import CheckpointStore
from django_cluster.stores.history import History
from django_cluster.stores.orm_groups import OrmGroups
from django_cluster.stores.orm_writer import FULL, SHORT, SHORT_CORRELATED, RowWriter
from django_cluster.stores.pruning import Pruner
from django_cluster.stores.rows import (
    MAX_ATTEMPT_MESSAGE,
    MAX_ATTEMPT_TRACEBACK,
    SUCCESS,
    Deduplicated,
    EarlierRuns,
    deduplicate,
    leaves_row,
    numbered_in_row,
    other_options,
    with_history,
)
from django_cluster.stores.session import results_session
from django_cluster.stores.tracked import TrackedTasks
from django_cluster.stores.tracked_ends import note_ends

IDS_PER_QUERY = 500


class OrmResults(ResultStore):
    """Keeps how tasks ended as rows of ``Task``."""

    database: str

    def __init__(self, section: ResultSettings, *, history_of: str | None = None) -> None:
        """``history_of``: the id of the cluster whose history is written with the rows; None: no history is."""
        self._section = section
        self.database = section.database or router.db_for_write(Task)
        self._session = results_session(self.database)
        self._writer = RowWriter(self._session)
        self.groups: OrmGroups = OrmGroups(self._session)
        self.tracked = TrackedTasks(self.database)
        self.checkpoints = CheckpointStore(self.database)
        self._pruner = Pruner(self._session, section)
        self._history = History.of(section, self._session, history_of)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def batch(self) -> AbstractContextManager[None]:
        return self._session.transaction()

    def save(self, outcomes: Sequence[Outcome]) -> None:
        quick: list[Deduplicated] = []
        other: list[Deduplicated] = []
        stale: list[str] = []
        waited_for: list[Outcome] = []
        for each in deduplicate([numbered_in_row(outcome) for outcome in outcomes]):
            outcome = each.outcome
            if outcome.options and outcome.final and "schedule" in outcome.options:
                waited_for.append(outcome)
            if not leaves_row(outcome, self._section):
                if outcome.attempt > 1:
                    stale.append(outcome.id)  # the row of an earlier failure would be a lie now
            elif (
                outcome.attempt == 1
                and outcome.status == SUCCESS
                and not (outcome.options and other_options(outcome.options))
            ):
                quick.append(each)
            else:
                other.append(each)
        note_ends(self.tracked, outcomes)
        if quick or other or stale:
            self._session.run(lambda: self._save(quick, other, stale, outcomes))
            self._pruner.note([each.outcome for each in (*quick, *other)])
        elif self._history is not None:
            self._history.defer(outcomes)
        if waited_for:
            # Its row may never be written: a schedule does not look for one.
            runs = [(outcome.options["schedule"], outcome.id) for outcome in waited_for]
            self._session.run(lambda: clear_busy_schedules(self.database, runs))

    def _save(
        self,
        quick: Sequence[Deduplicated],
        other: Sequence[Deduplicated],
        stale: Sequence[str],
        outcomes: Sequence[Outcome],
    ) -> None:
        correlated = [each for each in quick if each.outcome.options and "correlation_id" in each.outcome.options]
        if correlated:
            self._writer.write(correlated, SHORT_CORRELATED)
            quick = [each for each in quick if not (each.outcome.options and "correlation_id" in each.outcome.options)]
        self._writer.write(quick, SHORT)
        self._writer.write(self._with_history(other), FULL)
        for ids in batches(stale, most=IDS_PER_QUERY):
            self._rows().filter(pk__in=ids, success=False).delete()
        if self._history is not None:
            self._history.write(outcomes)

    def _with_history(self, deduplicated: Sequence[Deduplicated]) -> list[Deduplicated]:
        """Only tasks that have run before cost a question here."""
        retried = [each.outcome.id for each in deduplicated if each.outcome.attempt > 1]
        known = {
            task_id: earlier for ids in batches(retried, most=IDS_PER_QUERY) for task_id, earlier in self._known(ids)
        }
        return [with_history(each, known.get(each.outcome.id)) for each in deduplicated]

    def _known(self, task_ids: Sequence[str]) -> Iterator[tuple[str, EarlierRuns]]:
        ending = ("status", "error_kind", "error_message", "error_traceback")
        columns = ("attempts", "worker", "started_at", "stopped_at", *ending)
        rows = self._rows().filter(pk__in=task_ids).order_by().values_list("pk", "attempt_count", *columns)
        for task_id, number, attempts, worker, started, stopped, status, kind, message, traceback in rows:
            last = {
                "number": number,
                "worker": worker,
                "started": started.timestamp(),
                "stopped": stopped.timestamp(),
                "status": status,
                "kind": kind,
                "message": message[:MAX_ATTEMPT_MESSAGE],
                "traceback": traceback[-MAX_ATTEMPT_TRACEBACK:],
            }
            yield task_id, EarlierRuns(number, attempts or (), last)

    def deaths(self, outcomes: Sequence[Outcome]) -> dict[str, int]:
        current = {outcome.id: numbered_in_row(outcome).attempt for outcome in outcomes}
        forgiven = {outcome.id: outcome.options.get("earlier_runs", 0) for outcome in outcomes}
        return self._session.read(
            lambda: {
                task_id: sum(
                    run["status"] == OutcomeStatus.LOST and forgiven[task_id] < run["number"] != current[task_id]
                    for run in (*earlier.attempts, earlier.last)
                )
                for ids in batches(list(current), most=IDS_PER_QUERY)
                for task_id, earlier in self._known(ids)
            }
        )

    def finished(self, task_ids: Sequence[str]) -> set[str]:
        return self._session.read(
            lambda: {
                task_id
                for ids in batches(task_ids, most=IDS_PER_QUERY)
                for task_id in self._rows().filter(pk__in=ids, success=True).order_by().values_list("pk", flat=True)
            }
        )

    def forget_checkpoints(self, ids: Sequence[str]) -> None:
        self.checkpoints.forget(ids)

    # ── pruning ──────────────────────────────────────────────────────────────────────────────────

    def prune(self) -> None:
        """Delete what need not be kept any longer: of what has grown since the last time, and of what is too old."""
        try:
            self.groups.prune()
            self._pruner.prune()
            if self._history is not None:
                self._history.maintain()
            self.checkpoints.prune()
        except StoreUnavailable as error:
            # The next call tries again; an outage is logged by the code that saves.
            PRUNING_POSTPONED.log(error=error)

    def close(self) -> None:
        if self._history is not None:
            self._history.flush()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def get(self, id_or_name: str) -> Task | None:
        return self._session.read(lambda: self._rows().find(id_or_name))

    def group(self, group_id: str, *, failures: bool = True) -> list[Task]:
        return self._session.read(lambda: list(self._rows().in_group(group_id, failures=failures)))

    def count(self, group_id: str, *, failures: bool = False) -> int:
        return self._session.read(lambda: self._rows().count_group(group_id, failures=failures))

    def ensure_whole(self, group_id: str, *, failures: bool = True) -> None:
        self._session.read(lambda: ensure_whole(self.database, group_id, failures=failures))

    def retried(self, task_ids: Sequence[str]) -> dict[str, str]:
        """The tasks among these that were retried as a new task: their ids → the ids of the new tasks."""
        return self._session.read(
            lambda: {
                old: new
                for ids in batches(task_ids, most=IDS_PER_QUERY)
                for old, new in self._rows().filter(pk__in=ids).order_by().values_list("pk", "retried_as")
                if new is not None
            }
        )

    def delete(self, task_id: str) -> bool:
        return self._session.run(lambda: self._rows().filter(pk=task_id).delete()[0] > 0)

    def delete_group(self, group_id: str, *, tasks: bool = False) -> int:
        """With ``tasks``, what follows a group that is still at work is forgotten as well."""

        def forget() -> int:
            if tasks:
                self.groups.forget(group_id)
            return self._rows().forget_group(group_id, tasks=tasks)

        return self._session.run(forget)

    def _rows(self) -> TaskQuerySet:
        return saved_tasks(self.database)


def clear_busy_schedules(alias: str, runs: Iterable[tuple[int, str]]) -> None:
    """Tell the schedules that must not overlap that this task, their last run, has ended; no matter how."""
    for schedule, task_id in runs:
        Schedule.objects.using(alias).filter(pk=schedule, task=task_id).update(busy_since=None)
