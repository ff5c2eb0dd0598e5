"""Publishes the status of the cluster every few seconds, and reads the commands of operators. Runs in the monitor.

It reads the scoreboard, writes one row, and passes commands on by words of the scoreboard, because neither the
sentinel nor the pusher may wait for a table.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

import django

import django_cluster
from django_cluster.cluster.bootstrap.host import cpu_seconds, memory_kilobytes, resident_kilobytes
from django_cluster.cluster.ipc.incarnation import ROLES, ProcessRole, decode_role
from django_cluster.cluster.ipc.process_row import ClusterPhase, ProcessCommand, ProcessState, ScoreboardRow
from django_cluster.cluster.ipc.running_jobs import RunningJobsReader
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.shared_hashes import text_hash
from django_cluster.cluster.ipc.words import COMMANDS_UNREAD, PAUSED_QUEUES, PHASE, RESTART_REQUEST, RESTARTS, SENTINEL
from django_cluster.cluster.roles.cancel_watch import INFO_WORDS, CancelWatch
from django_cluster.cluster.roles.metrics import Metrics
from django_cluster.core.backoff import ReconnectBackoff
from django_cluster.core.events.servers import HEARTBEAT
from django_cluster.core.messages import Outcome
from django_cluster.core.settings import Settings
from django_cluster.errors import StoreUnavailable
from django_cluster.stores.cancel_requests import CancelRequestStore
from django_cluster.stores.operator_commands import OperatorCommandStore
from django_cluster.stores.status import LOST, ClusterStatus, ProcessStatus, RunningTask, StatusStore

PRUNE_SECONDS = 600.0
"""Seconds between two deletions of clusters that have been silent for long."""
MAX_LISTED = 500
"""Running tasks of one worker that a heartbeat names at most."""
STATES = {ClusterPhase.STARTING: "starting", ClusterPhase.RUNNING: "running"}
"""The names of phases; all others are ``stopping``."""


class HeartbeatPublisher:
    """Publishes heartbeats. During an outage of the table it tries again later, and delays nothing else."""

    def __init__(
        self,
        settings: Settings,
        board: Scoreboard,
        cluster_id: str,
        running_jobs: RunningJobsReader,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._board, self._id = settings, board, cluster_id
        self._clock, self._wall = clock, wall
        self._statuses = StatusStore(settings.results.database)
        self._commands = OperatorCommandStore(settings.results.database)
        self._cancels = CancelWatch(board, CancelRequestStore(settings.results.database), clock)
        self._queues = settings.queues
        self._metrics = Metrics(wall)
        self._backoff = ReconnectBackoff("Heartbeat table", clock, HEARTBEAT)
        self._beat_at, self._prune_at = 0.0, clock() + PRUNE_SECONDS
        self._cpu: dict[int, float] = {}
        self._running_jobs = running_jobs
        self._looked_at = 0.0

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes that were recorded."""
        self._metrics.count(outcomes)
        self._cancels.note_ends(outcomes)

    def beat(self, unrecorded: int = 0) -> None:
        """Publish a heartbeat if it is due. ``unrecorded``: how many outcomes wait to be recorded."""
        now = self._clock()
        if now < self._beat_at:
            self._cancels.look()
            return
        self._beat_at = now + self._settings.processes.heartbeat_interval
        if not self._backoff.due:
            return
        try:
            self._statuses.publish(self.status(unrecorded))
            self._apply_commands()
            if now >= self._prune_at:
                self._prune_at = now + PRUNE_SECONDS
                self._statuses.prune()
        except StoreUnavailable as error:
            self._backoff.failed(error)
        else:
            self._backoff.recovered()

    def stop(self, *, lost: bool = False) -> None:
        """Remove the row of this cluster. ``lost``: mark it as lost instead, so that what ran stays visible for a day.

        The sentinel was killed, and its workers with it: their rows still name what they ran.
        """
        try:
            if lost:
                self._statuses.publish(replace(self.status(), state=LOST))
            else:
                self._statuses.remove(self._id)
        except StoreUnavailable as error:
            self._backoff.failed(error)

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────

    def _apply_commands(self) -> None:
        commands = self._commands.pending(self._id, self._queues)
        mask = sum(1 << place for place, queue in enumerate(self._queues) if queue in commands.paused)
        self._board.set_cluster_word(PAUSED_QUEUES, mask)
        self._board.paused.write([text_hash(path) for path in commands.paused_tasks])
        self._cancels.refresh(commands.cancels)
        self._board.set_cluster_word(COMMANDS_UNREAD, 0)
        if not commands.restart:
            return
        for row in range(self._board.rows):
            incarnation = self._board.read(row).incarnation
            if incarnation in commands.restart:
                self._board.set(row, RESTART_REQUEST, incarnation)
        # Only now: when this monitor is killed in between, the next one writes the same words again.
        self._commands.mark_done(self._id, commands.restart)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────

    def status(self, unrecorded: int = 0) -> ClusterStatus:
        """The present status of the cluster."""
        settings, board = self._settings, self._board
        total, free = memory_kilobytes()
        rows = [(row, board.read(row)) for row in range(board.rows)]
        living = [
            (row, read)
            for row, read in rows
            if read.exit_code is None and read.pid and read.state is not ProcessState.EMPTY
        ]
        self._running_jobs.keep(frozenset(read.incarnation for _, read in living))
        pushers = [read for _, read in living if decode_role(read.role_code)[0] is ProcessRole.PUSHER]
        mask = board.cluster_word(PAUSED_QUEUES) & min(
            (read.applied_pauses for read in pushers), default=0
        )  # requested and applied
        return ClusterStatus(
            id=self._id,
            name=settings.name,
            queues=self._queues,
            host=os.uname().nodename,
            pid=board.cluster_word(SENTINEL),
            state=STATES.get(ClusterPhase(board.cluster_word(PHASE)), "stopping"),
            started_at=board.launched,
            published_at=self._wall(),
            interval=settings.processes.heartbeat_interval,
            restarts=board.cluster_word(RESTARTS),
            paused=tuple(queue for place, queue in enumerate(self._queues) if mask >> place & 1),
            in_flight=sum(read.in_flight for read in pushers),
            unrecorded=unrecorded,
            broker=", ".join(dict.fromkeys(section.kind for section in settings.broker_sections)),
            versions=versions(),
            memory_total=total,
            memory_free=free,
            processes=tuple(self._processes(living)),
            throughput=self._metrics.throughput(),
        )

    def _processes(self, living: Sequence[tuple[int, ScoreboardRow]]) -> Iterator[ProcessStatus]:
        now = self._clock()
        seconds, self._looked_at = now - self._looked_at, now
        before, self._cpu = self._cpu, {}

        def cpu(pid: int) -> float:
            self._cpu[pid] = cpu_seconds(pid)
            used = self._cpu[pid] - before.get(pid, self._cpu[pid])
            return round(max(0.0, 100 * used / seconds), 1) if seconds > 0 else 0.0

        sentinel = self._board.cluster_word(SENTINEL)
        state = STATES.get(ClusterPhase(self._board.cluster_word(PHASE)), "stopping")
        yield ProcessStatus(
            role="sentinel", pid=sentinel, state=state, rss=resident_kilobytes(sentinel), cpu=cpu(sentinel)
        )
        for row, read in sorted(living, key=start_order):
            role, index = decode_role(read.role_code)
            yield ProcessStatus(
                role=role,
                index=index,
                incarnation=read.incarnation,
                pid=read.pid,
                state=(ProcessState.STOPPING if read.command is ProcessCommand.STOP else read.shown_state).name.lower(),
                done=read.done if role is ProcessRole.WORKER else 0,
                rss=resident_kilobytes(read.pid),
                cpu=cpu(read.pid),
                task=listed[0] if (listed := self._running_tasks(row, read, now)) else None,
                others=tuple(listed[1:MAX_LISTED]),
                unlisted=max(0, len(listed) - MAX_LISTED),
            )

    def _running_tasks(self, row: int, read: ScoreboardRow, now: float) -> list[RunningTask]:
        """What a process runs, the oldest first."""
        alone = self._running(row, read, now)
        if not read.concurrent:
            return [] if alone is None else [alone]
        found = [] if alone is None else [alone]
        for job in self._running_jobs.read(read):
            if job.runs and len(job.info) == 3:
                id, name, func = job.info
                limit = job.deadline - job.started if job.deadline else None
                started = self._wall() - (now - job.started)
                found.append(
                    RunningTask(id=id, name=name, func=func, started=started, limit=limit, progress=job.progress)
                )
        return sorted(found, key=lambda task: task.started)

    def _running(self, row: int, read: ScoreboardRow, now: float) -> RunningTask | None:
        words = self._board.read_task_info(row) if read.state is ProcessState.BUSY else None
        if words is None or len(words) < INFO_WORDS:  # another task by now
            return None
        id, name, func = words[:INFO_WORDS]
        limit = read.deadline - read.started if read.deadline else None
        return RunningTask(
            id=id,
            name=name,
            func=func,
            started=self._wall() - (now - read.started),
            limit=limit,
            progress=self._board.read_progress(row),
        )


def start_order(living: tuple[int, ScoreboardRow]) -> tuple[int, int, int]:
    """Sort key: role, index, incarnation."""
    role, index = decode_role(living[1].role_code)
    return ROLES.index(role), index, living[1].incarnation


@cache
def versions() -> Mapping[str, str]:
    """The versions that the cluster runs on. Finding them takes memory, so it is done once, before the first fork."""
    return {
        "django_cluster": django_cluster.__version__,
        "django": django.get_version(),
        "python": platform.python_version(),
    }
