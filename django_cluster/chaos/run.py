"""One run from its beginning to its end: the cluster, the load, the faults, the settling, the books."""

from __future__ import annotations

import multiprocessing
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from django.db import connections

from django_cluster.chaos.evidence import Evidence, Hit, Look, Row, calls_from, executions_from, looks_from
from django_cluster.chaos.journal import ACCEPTED, Reader, note, read
from django_cluster.chaos.pausing import Pausing
from django_cluster.chaos.plan import CREW, Fault, Target, draw
from django_cluster.chaos.sender import send
from django_cluster.chaos.stage import Stage
from django_cluster.chaos.victims import Victims
from django_cluster.chaos.watch import watch
from django_cluster.client import Client
from django_cluster.errors import ClusterError
from django_cluster.models.task import saved_tasks

LOOK = 0.1
"""Seconds between two looks at the sentinel while nothing else is to be done."""
STALLED = 30.0
"""Seconds, beyond three leases, without any progress, after which what is open counts as lost."""
SENDER_PATIENCE = 60.0
"""Seconds for the last calls of the sender to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asks of a run."""

    seconds: float = 60.0
    rate: float = 50.0
    """Tasks a second."""
    every: float = 1.0
    """Seconds from one fault to the next, on average."""
    lease: float = 6.0
    seed: int = 0
    only: tuple[str, ...] = ()
    """Targets to which the faults are confined; none: all that may be hit."""
    sentinel: bool = False
    """Whether the sentinel may be killed too."""
    pausing: Pausing = field(default_factory=Pausing)
    keep: bool = False
    """Leave the rows and the folder for a look."""

    @property
    def longest_pause(self) -> float:
        """What a lease survives with certainty, so that no pause explains a repetition."""
        return self.lease / 3

    def targets(self, *, scheduler: bool) -> set[Target]:
        targets = set(CREW) if scheduler else set(CREW) - {Target.SCHEDULER}
        if self.sentinel:
            targets.add(Target.SENTINEL)
        if self.pausing.possible:
            targets.add(Target.SERVER)
        return {target for target in targets if target in self.only} if self.only else targets


class Run:
    """Holds the strings. This process opens no connection before the cluster has ended: it forks until then."""

    def __init__(self, stage: Stage, wishes: Wishes, say: Callable[[str], None] = lambda _: None) -> None:
        self._stage, self._wishes, self._say = stage, wishes, say
        self._victims = Victims(stage)
        self._context: Any = multiprocessing.get_context("fork")
        self._helpers: list[BaseProcess] = []
        self._pause: subprocess.Popen[bytes] | None = None
        self._hits: list[Hit] = []
        self._looks: list[Look] = []
        self._incidents: list[str] = []

    def run(self) -> Evidence:
        """Raises ``ClusterError`` when the cluster does not start; cleans up whatever happens."""
        self._check()
        try:
            self._victims.start()
            began = time.monotonic()
            sender = self._help(send, seed=self._wishes.seed, rate=self._wishes.rate, seconds=self._wishes.seconds)
            watcher = self._help(watch)
            self._under_fire(began)
            self._settle(sender)
            self._end(watcher)
            self._victims.stop()
            return self._evidence(began)
        finally:
            self._clean_up()

    def _check(self) -> None:
        """Raises ``ClusterError`` if the queue or the table of results cannot be used."""
        client = Client(self._stage.settings)
        client.broker.size()
        client.results.rows.count(self._stage.group)
        client.broker.close()
        connections.close_all()

    def _help(self, target: Callable[..., None], **wishes: Any) -> BaseProcess:
        process: BaseProcess = self._context.Process(target=target, args=(self._stage,), kwargs=wishes, daemon=True)
        process.start()
        self._helpers.append(process)
        return process

    # ── faults ───────────────────────────────────────────────────────────────────────────────────

    def _under_fire(self, began: float) -> None:
        """Fault after fault, as long as tasks are sent.

        A fault that had to wait for its victim delays those behind it, so that they do not fall on the newborn.
        """
        wishes, late = self._wishes, 0.0
        targets = wishes.targets(scheduler=self._stage.settings.schedule.enabled)
        for fault in draw(wishes.seed, wishes.seconds, wishes.every, targets, wishes.longest_pause):
            if fault.at + late >= wishes.seconds:
                break
            self._wait_until(began + fault.at + late)
            self._strike(fault)
            late = max(late, time.monotonic() - began - fault.at)
        self._wait_until(began + wishes.seconds)

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self._victims.look_after()
            time.sleep(min(left, LOOK))

    def _strike(self, fault: Fault) -> None:
        hit = self._hold(fault) if fault.target is Target.SERVER else self._victims.kill(fault.target, fault.pick)
        if hit is not None:
            self._hits.append(hit)
            note(self._stage.hits, *hit)

    def _hold(self, fault: Fault) -> Hit:
        if self._pause is not None:
            self._pause.wait()
        now = time.monotonic()
        self._pause = self._wishes.pausing.hold(fault.seconds)
        return Hit(now, Target.SERVER, seconds=fault.seconds)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _settle(self, sender: BaseProcess) -> None:
        """Until every task that was accepted has its row and the queue is empty, or nothing has moved for a long time.

        The queue alone does not tell: not every broker counts what others hold.
        """
        sender.join(SENDER_PATIENCE)
        if sender.exitcode != 0:
            self._incidents.append(f"The sender ended with {sender.exitcode}: a call raised what it should not.")
        self._say("The fire has ceased; waiting for what is still open.")
        accepted = sum(1 for word, *_ in read(self._stage.sent) if word == ACCEPTED)
        stalled, reader = self._wishes.lease * 3 + STALLED, Reader(self._stage.settled)
        over, moved, best = time.monotonic(), time.monotonic(), -1
        while time.monotonic() - moved < stalled:
            for look in looks_from(reader.news()):
                self._looks.append(look)
                if look.done > best:
                    best, moved = look.done, time.monotonic()
            last = self._looks[-1] if self._looks else None
            if last and last.at > over and last.done >= accepted and not last.waiting:
                return
            self._victims.look_after()
            time.sleep(LOOK)
        if self._looks and self._looks[-1].waiting:
            self._incidents.append(f"Nothing has moved for {stalled:g} seconds, and the queue is not empty.")

    def _end(self, helper: BaseProcess) -> None:
        helper.terminate()
        helper.join()

    def _evidence(self, began: float) -> Evidence:
        stage, client = self._stage, Client(self._stage.settings)
        left = self._victims.left_behind()
        rows = saved_tasks(client.results.database).in_group(stage.group, failures=True)
        return Evidence(
            broker=f"{client.broker.title} ({client.broker.info()})",
            seed=self._wishes.seed,
            began=began,
            seconds=self._wishes.seconds,
            lease=self._wishes.lease,
            calls=calls_from(read(stage.sent)),
            executions=executions_from(read(stage.runs)),
            births=self._victims.births,
            hits=self._hits,
            looks=self._looks,
            rows=[Row(*row) for row in rows.order_by().values_list("pk", "success", "status")],
            left=left,
            messages_left=client.broker.size().total,
            incidents=[*self._incidents, *self._victims.incidents],
        )

    def _clean_up(self) -> None:
        """Nothing of the run stays in the queue, nor, unless it is to be kept, in the tables."""
        for helper in self._helpers:
            self._end(helper)
        if self._pause is not None:
            self._pause.wait()
        self._victims.abandon()
        client = Client(self._stage.settings)
        with suppress(ClusterError):
            client.broker.purge()
            if not self._wishes.keep:
                client.results.rows.delete_group(self._stage.group, tasks=True)
        client.broker.close()
