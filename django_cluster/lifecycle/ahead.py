"""Quick tasks that a worker writes down as running together, a moment before it calls each.

A statement for each task would take longer than the task. So when a worker begins a tracked task whose last runs were
quick, it also writes down those behind it that it will have run within ``AHEAD_SECONDS``. If one of them is given to
another worker, or its worker dies before it comes to it, the row says that it was written ahead (a negative
``TrackedTask.delivery``), and the next worker takes it over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from django_cluster.core.messages import Job, TaskHeader
from django_cluster.errors import PackageError, StoreUnavailable
from django_cluster.stores.tracked import TrackedTasks
from django_cluster.stores.tracked_runs import BegunRun

AHEAD_SECONDS = 0.02
"""Seconds that the tasks which are written down together will take, going by their last runs: as much work as may wait
in a worker."""
MOST_AHEAD = 100
MOST_FUNCTIONS = 1000
RUNS_COMPARED = 3
NEVER_SEEN = (AHEAD_SECONDS,)

ReadHeader = Callable[[Job], TaskHeader]


class RunsAhead:
    """The runs that a worker has written down, and not called yet."""

    def __init__(self, rows: TrackedTasks, worker: str) -> None:
        self._rows, self._worker = rows, worker
        self._begun: dict[str, tuple[str, BegunRun]] = {}
        """By receipt: the id of the task, and its run."""
        self._seconds: dict[str, deque[float]] = {}
        """How long the last runs of each function have taken."""
        self.waiting: Iterable[Job] = ()
        """The jobs that the worker runs next, in order."""

    def observe(self, func: str, seconds: float) -> float:
        """A run of this function has taken so long; returns how long its next one should take.

        The quickest of the last ones: on a busy machine most are interrupted.
        """
        if len(self._seconds) >= MOST_FUNCTIONS and func not in self._seconds:
            self._seconds.clear()
        runs = self._seconds.setdefault(func, deque(maxlen=RUNS_COMPARED))
        runs.append(seconds)
        return min(runs)

    def _expected(self, func: str) -> float:
        return min(self._seconds.get(func, NEVER_SEEN))

    def begin(self, job: Job, header: TaskHeader, now: float, read_header: ReadHeader) -> BegunRun | None:
        """The run of this job, if it is written down ahead, alone or with others; None: it has to be written down.

        Raises ``StoreUnavailable``.
        """
        if job.receipt not in self._begun:
            together = self._together(job, header, read_header)
            if len(together) < 2:
                return None
            deliveries = {task_id: each.attempt for task_id, each in together.items()}
            begun = self._rows.begin_ahead(deliveries, self._worker, now)
            self._begun.update((together[task_id].receipt, (task_id, run)) for task_id, run in begun.items())
        found = self._begun.pop(job.receipt, None)
        return None if found is None else found[1]

    def _together(self, job: Job, header: TaskHeader, read_header: ReadHeader) -> dict[str, Job]:
        """The job and those behind it that will be run in a moment, by the ids of their tasks."""
        room = AHEAD_SECONDS - self._expected(header.func)
        found = {header.id: job}
        if room <= 0:
            return found
        for each in self.waiting:
            with suppress(PackageError):
                behind = read_header(each)
                room -= self._expected(behind.func)
                if room < 0 or len(found) >= MOST_AHEAD:
                    break
                if behind.options.tracked and each.receipt not in self._begun:
                    found.setdefault(behind.id, each)
        return found

    def take_back(self, jobs: Sequence[Job]) -> None:
        """Note that jobs are not run here. What cannot be written now is seen by the worker that gets them."""
        ids = [found[0] for job in jobs if (found := self._begun.pop(job.receipt, None)) is not None]
        if ids:
            with suppress(StoreUnavailable):
                self._rows.take_back(ids, self._worker)
