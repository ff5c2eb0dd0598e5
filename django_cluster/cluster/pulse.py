"""The cluster's sign of life, and its ear for operators: what the monitor does every few seconds.

It reads the scoreboard, writes one row, and reads what operators want; that it hands on by words of the
scoreboard, because neither the sentinel nor the pusher may wait for a table.
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
from django_cluster.cluster.host import cpu_seconds, memory_kilobytes, resident_kilobytes
from django_cluster.cluster.scoreboard import (
    PAUSED,
    PHASE,
    RECYCLE,
    RESTARTS,
    SENTINEL,
    Order,
    Phase,
    Row,
    Scoreboard,
    State,
)
from django_cluster.cluster.seat import ROLES, Role, who_sits
from django_cluster.cluster.tally import Tally
from django_cluster.core.messages import Outcome
from django_cluster.core.outage import Outage
from django_cluster.core.settings import Settings
from django_cluster.errors import StoreUnavailable
from django_cluster.stores.instructions import InstructionStore
from django_cluster.stores.status import LOST, ClusterStatus, ProcessStatus, RunningTask, StatusStore

PRUNE_EVERY = 600.0
"""Seconds between two looks for clusters that have been silent for long."""
STATES = {Phase.STARTING: "starting", Phase.RUNNING: "running"}
"""All others are ``stopping``."""


class Pulse:
    """Beats in the monitor. An outage of the table is waited for, and holds nothing else up."""

    def __init__(
        self,
        settings: Settings,
        board: Scoreboard,
        cluster_id: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._board, self._id = settings, board, cluster_id
        self._clock, self._wall = clock, wall
        self._statuses = StatusStore(settings.results.database)
        self._instructions = InstructionStore(settings.results.database)
        self._queues = settings.queues
        self._tally = Tally(wall)
        self._outage = Outage("The table of heartbeats", clock)
        self._beat_at, self._prune_at = 0.0, clock() + PRUNE_EVERY
        self._cpu: dict[int, float] = {}
        self._looked_at = 0.0

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """These have been saved."""
        self._tally.count(outcomes)

    def beat(self, unfiled: int = 0) -> None:
        """Called all the time; does something when it is due. ``unfiled``: outcomes that wait to be saved."""
        now = self._clock()
        if now < self._beat_at:
            return
        self._beat_at = now + self._settings.crew.heartbeat
        if not self._outage.due:
            return
        try:
            self._statuses.publish(self.status(unfiled))
            self._obey()
            if now >= self._prune_at:
                self._prune_at = now + PRUNE_EVERY
                self._statuses.prune()
        except StoreUnavailable as error:
            self._outage.failed(error)
        else:
            self._outage.over()

    def stop(self, *, lost: bool = False) -> None:
        """The last thing to be said. ``lost``: the sentinel was killed; what ran then stays to be seen for a day.

        Nobody has written how the workers ended that were killed with it, so that their rows still say what they ran.
        """
        try:
            if lost:
                self._statuses.publish(replace(self.status(), state=LOST))
            else:
                self._statuses.remove(self._id)
        except StoreUnavailable as error:
            self._outage.failed(error)

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────

    def _obey(self) -> None:
        wishes = self._instructions.wishes(self._id, self._queues)
        mask = sum(1 << place for place, queue in enumerate(self._queues) if queue in wishes.paused)
        self._board.set_cluster(PAUSED, mask)
        if not wishes.recycle:
            return
        for row in range(self._board.rows):
            seat = self._board.read(row).seat
            if seat in wishes.recycle:
                self._board.set(row, RECYCLE, seat)
        # Only now: when we are killed in between, our successor writes the same words again.
        self._instructions.fulfilled(self._id, wishes.recycle)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────

    def status(self, unfiled: int = 0) -> ClusterStatus:
        """How the cluster stands now."""
        settings, board = self._settings, self._board
        total, free = memory_kilobytes()
        rows = [(row, board.read(row)) for row in range(board.rows)]
        living = [(row, read) for row, read in rows if read.exit is None and read.pid and read.state is not State.EMPTY]
        pushers = [read for _, read in living if who_sits(read.post)[0] is Role.PUSHER]
        mask = board.cluster(PAUSED) & min((read.begun for read in pushers), default=0)  # what is ordered and obeyed
        return ClusterStatus(
            id=self._id,
            name=settings.name,
            queues=self._queues,
            host=os.uname().nodename,
            pid=board.cluster(SENTINEL),
            state=STATES.get(Phase(board.cluster(PHASE)), "stopping"),
            started_at=board.launched,
            published_at=self._wall(),
            interval=settings.crew.heartbeat,
            restarts=board.cluster(RESTARTS),
            paused=tuple(queue for place, queue in enumerate(self._queues) if mask >> place & 1),
            held=sum(read.done for read in pushers),
            unfiled=unfiled,
            broker=", ".join(dict.fromkeys(section.kind for section in settings.sections)),
            versions=versions(),
            memory_total=total,
            memory_free=free,
            processes=tuple(self._processes(living)),
            throughput=self._tally.throughput(),
        )

    def _processes(self, living: Sequence[tuple[int, Row]]) -> Iterator[ProcessStatus]:
        now = self._clock()
        seconds, self._looked_at = now - self._looked_at, now
        before, self._cpu = self._cpu, {}

        def cpu(pid: int) -> float:
            self._cpu[pid] = cpu_seconds(pid)
            used = self._cpu[pid] - before.get(pid, self._cpu[pid])
            return round(max(0.0, 100 * used / seconds), 1) if seconds > 0 else 0.0

        sentinel = self._board.cluster(SENTINEL)
        state = STATES.get(Phase(self._board.cluster(PHASE)), "stopping")
        yield ProcessStatus(
            role="sentinel", pid=sentinel, state=state, rss=resident_kilobytes(sentinel), cpu=cpu(sentinel)
        )
        for row, read in sorted(living, key=in_order):
            role, index = who_sits(read.post)
            yield ProcessStatus(
                role=role,
                index=index,
                seat=read.seat,
                pid=read.pid,
                state=(State.LEAVING if read.order is Order.LEAVE else read.state).name.lower(),
                done=read.done if role is Role.WORKER else 0,
                rss=resident_kilobytes(read.pid),
                cpu=cpu(read.pid),
                task=self._running(row, read, now),
            )

    def _running(self, row: int, read: Row, now: float) -> RunningTask | None:
        words = self._board.noted(row) if read.state is State.BUSY else None
        if words is None or len(words) != 3:  # another task by now
            return None
        id, name, func = words
        limit = read.deadline - read.started if read.deadline else None
        return RunningTask(id=id, name=name, func=func, started=self._wall() - (now - read.started), limit=limit)


def in_order(living: tuple[int, Row]) -> tuple[int, int, int]:
    """As they are started: by role, then by place, then by life."""
    role, index = who_sits(living[1].post)
    return ROLES.index(role), index, living[1].seat


@cache
def versions() -> Mapping[str, str]:
    """Of what the cluster runs on. To find them out takes much memory: it is done once, before the first fork."""
    return {
        "django_cluster": django_cluster.__version__,
        "django": django.get_version(),
        "python": platform.python_version(),
    }
