"""One run from its beginning to its end: the cluster, the load, the faults, the settling, the books."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import Any

from django.db import connections, router

from django_cluster.chaos.blows import Blows
from django_cluster.chaos.clock import SteppedClock
from django_cluster.chaos.evidence import Evidence, Hit, Look, Row, calls_from, executions_from, looks_from
from django_cluster.chaos.journal import ACCEPTED, ENDED, Reader, note, read
from django_cluster.chaos.network import Network
from django_cluster.chaos.plan import NETWORK, Kind, draw
from django_cluster.chaos.sender import send
from django_cluster.chaos.sending import Sending
from django_cluster.chaos.stage import Stage
from django_cluster.chaos.victims import Victims
from django_cluster.chaos.watch import watch
from django_cluster.chaos.wishes import Wishes
from django_cluster.client import Client
from django_cluster.errors import ClusterError
from django_cluster.models.task import Task, saved_tasks

LOOK = 0.1
"""Seconds between two looks at the sentinel while nothing else is to be done."""
STALLED = 30.0
"""Seconds, beyond three leases, without any progress, after which what is open counts as lost."""


class Run:
    """Holds the strings. This process opens no connection before the cluster has ended: it forks until then."""

    def __init__(self, stage: Stage, wishes: Wishes, say: Callable[[str], None] = lambda _: None) -> None:
        self._stage, self._wishes, self._say = stage, wishes, say
        self._clock = SteppedClock()
        self._victims: Victims | None = None
        self._blows: Blows | None = None
        self._sending: Sending | None = None
        self._context: Any = multiprocessing.get_context("fork")
        self._helpers: list[BaseProcess] = []
        self._hits: list[Hit] = []
        self._looks: list[Look] = []
        self._incidents: list[str] = []

    def run(self) -> Evidence:
        """Raises ``ClusterError`` when the cluster does not start; cleans up whatever happens."""
        self._network = Network(self._stage, self._check(), self._wishes.seed)
        try:
            # Before there is a detour: who watches is to see what is, whatever happens on the way.
            watcher = self._help(watch, self._stage)
            with self._network.opened() as stage:
                began, victims = self._rehearse(stage)
                self._end(watcher)
                victims.stop()
            return self._evidence(began, victims)
        finally:
            self._clean_up()

    def _rehearse(self, stage: Stage) -> tuple[float, Victims]:
        """When it began, and the cluster, still running, with nothing left to do."""
        wishes = self._wishes
        victims = self._victims = Victims(stage)
        blows = self._blows = Blows(victims, wishes.pausing, self._network, self._clock)
        with self._clock_in_use():
            victims.start()
            began = time.monotonic()
            sending = self._sending = Sending(stage, lambda seconds: self._send(stage, seconds), wishes.seconds)
            self._under_fire(began, blows)
            blows.wait_until_over()
            self._settle(sending, victims)
        return began, victims

    def _send(self, stage: Stage, seconds: float) -> BaseProcess:
        return self._help(send, stage, seed=self._wishes.seed, rate=self._wishes.rate, seconds=seconds)

    @contextmanager
    def _clock_in_use(self) -> Iterator[None]:
        """This process reads the clock that can be set, for the sake of the clusters that it forks."""
        if Kind.CLOCK not in self._wishes.events:
            yield
            return
        self._clock.install()
        try:
            yield
        finally:
            self._clock.remove()

    def _check(self) -> set[str]:
        """The databases in use. Raises ``ClusterError`` if the queue or the table of results cannot be used."""
        client = Client(self._stage.settings)
        client.broker.size()
        client.results.rows.count(self._stage.group)
        client.broker.close()
        connections.close_all()
        places = (client.results.database or router.db_for_write(Task), getattr(client.broker, "database", None))
        return {alias for alias in places if isinstance(alias, str)}

    def _help(self, target: Callable[..., None], stage: Stage, **wishes: Any) -> BaseProcess:
        def with_the_right_time() -> None:
            self._clock.remove()
            target(stage, **wishes)

        process: BaseProcess = self._context.Process(target=with_the_right_time, daemon=True)
        process.start()
        self._helpers.append(process)
        return process

    # ── faults ───────────────────────────────────────────────────────────────────────────────────

    def _under_fire(self, began: float, blows: Blows) -> None:
        """Fault after fault, as long as tasks are sent.

        A fault that had to wait for its victim delays those behind it, so that they do not fall on the newborn.
        """
        wishes, late = self._wishes, 0.0
        deeds = wishes.deeds(scheduler=self._stage.settings.schedule.enabled, network=not self._network.obstacle)
        for fault in draw(wishes.seed, wishes.seconds, wishes.every, deeds, wishes.spans()):
            if fault.at + late >= wishes.seconds:
                break
            self._wait_until(began + fault.at + late)
            if (hit := blows.deal(fault)) is not None:
                self._hits.append(hit)
                note(self._stage.hits, *hit)
            late = max(late, time.monotonic() - began - fault.at)
        self._wait_until(began + wishes.seconds)

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            for each in (self._victims, self._sending):
                if each is not None:
                    each.look_after()
            time.sleep(min(left, LOOK))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _settle(self, sending: Sending, victims: Victims) -> None:
        """Until every task that was accepted has its row and the queue is empty, or nothing has moved for a long time.

        The queue alone does not tell: not every broker counts what others hold.
        """
        sending.finish(LOOK)
        self._incidents += sending.incidents
        self._say("The fire has ceased; waiting for what is still open.")
        # A refused call may have been heard: what has run must have its row as well, or it stands for another's here.
        owed, runs = {task for word, task, *_ in read(self._stage.sent) if word == ACCEPTED}, Reader(self._stage.runs)
        stalled, reader = self._wishes.lease * 3 + STALLED, Reader(self._stage.settled)
        over, moved, best = time.monotonic(), time.monotonic(), -1
        while time.monotonic() - moved < stalled:
            owed |= {task for word, task, *_ in runs.news() if word == ENDED}
            for look in looks_from(reader.news()):
                self._looks.append(look)
                if look.done > best:
                    best, moved = look.done, time.monotonic()
            last = self._looks[-1] if self._looks else None
            if last and last.at > over and last.done >= len(owed) and not last.waiting:
                return
            victims.look_after()
            time.sleep(LOOK)
        if self._looks and self._looks[-1].waiting:
            self._incidents.append(f"Nothing has moved for {stalled:g} seconds, and the queue is not empty.")

    def _end(self, helper: BaseProcess) -> None:
        helper.terminate()
        helper.join()

    def _evidence(self, began: float, victims: Victims) -> Evidence:
        stage, client = self._stage, Client(self._stage.settings)
        left = victims.left_behind()
        rows = saved_tasks(client.results.database).in_group(stage.group, failures=True)
        return Evidence(
            broker=f"{client.broker.title} ({client.broker.info()})",
            seed=self._wishes.seed,
            began=began,
            seconds=self._wishes.seconds,
            lease=self._wishes.lease,
            calls=calls_from(read(stage.sent)),
            executions=executions_from(read(stage.runs)),
            births=victims.births,
            hits=self._hits,
            looks=self._looks,
            rows=[Row(*row) for row in rows.order_by().values_list("pk", "success", "status")],
            left=left,
            messages_left=client.broker.size().total,
            not_applicable=self._not_applicable(),
            incidents=[*self._incidents, *victims.incidents],
        )

    def _not_applicable(self) -> list[str]:
        return [self._network.obstacle] if self._network.obstacle and self._wishes.events & set(NETWORK) else []

    def _clean_up(self) -> None:
        """Nothing of the run stays in the queue, nor, unless it is to be kept, in the tables."""
        for helper in self._helpers:
            self._end(helper)
        if self._blows is not None:
            self._blows.wait_until_over()
        if self._victims is not None:
            self._victims.abandon()
        client = Client(self._stage.settings)
        with suppress(ClusterError):
            client.broker.purge()
            if not self._wishes.keep:
                client.results.rows.delete_group(self._stage.group, tasks=True)
        client.broker.close()
