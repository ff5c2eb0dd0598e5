"""One run of ``qchaos``: start cluster and load, inject faults, wait until all is done, collect observations."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import Any

from django.db import connections, router

from django_cluster.client.client import Client
from django_cluster.errors import ClusterError
from django_cluster.models.task import Task, saved_tasks
from django_cluster.testing.chaos.canceller import cancel_one
from django_cluster.testing.chaos.clock import SteppedClock
from django_cluster.testing.chaos.injector import FaultInjector
from django_cluster.testing.chaos.journal import ACCEPTED, ENDED, JournalReader, append_line, read_all
from django_cluster.testing.chaos.network import Network
from django_cluster.testing.chaos.observations import (
    InjectedFault,
    Observations,
    ProgressSample,
    ResultRow,
    calls_from,
    executions_from,
    progress_from,
)
from django_cluster.testing.chaos.plan import NETWORK, FaultKind, draw_faults
from django_cluster.testing.chaos.progress_observer import observe_progress
from django_cluster.testing.chaos.run_options import RunOptions
from django_cluster.testing.chaos.sandbox import Sandbox
from django_cluster.testing.chaos.sender import send
from django_cluster.testing.chaos.sender_supervisor import SenderSupervisor
from django_cluster.testing.chaos.target_cluster import TargetCluster

POLL_SECONDS = 0.1
"""Seconds between two checks of cluster and sender."""
STALL_TIMEOUT_SECONDS = 30.0
"""Seconds without progress, in addition to three leases, after which unfinished tasks count as lost."""


class Run:
    """Controls a run. This process opens no connection before the cluster has ended, because it forks until then."""

    def __init__(self, sandbox: Sandbox, run_options: RunOptions, say: Callable[[str], None] = lambda _: None) -> None:
        self._sandbox, self._options, self._say = sandbox, run_options, say
        self._clock = SteppedClock()
        self._target_cluster: TargetCluster | None = None
        self._injector: FaultInjector | None = None
        self._sending: SenderSupervisor | None = None
        self._context: Any = multiprocessing.get_context("fork")
        self._helpers: list[BaseProcess] = []
        self._faults: list[InjectedFault] = []
        self._progress: list[ProgressSample] = []
        self._incidents: list[str] = []

    def run(self) -> Observations:
        """Execute the run and clean up. Raises ``ClusterError`` if the cluster does not start."""
        self._network = Network(self._sandbox, self._check(), self._options.seed)
        try:
            # Started before the redirection: the observer connects directly to the servers.
            watcher = self._start_helper(observe_progress, self._sandbox)
            with self._network.opened() as sandbox:
                began, target_cluster = self._run_faults(sandbox)
                self._end(watcher)
                target_cluster.stop()
            return self._evidence(began, target_cluster)
        finally:
            self._clean_up()

    def _run_faults(self, sandbox: Sandbox) -> tuple[float, TargetCluster]:
        """Inject all faults; the start of the run, and the cluster, still running and with an empty queue."""
        run_options = self._options
        target_cluster = self._target_cluster = TargetCluster(sandbox)
        injector = self._injector = FaultInjector(
            target_cluster,
            run_options.pausing,
            self._network,
            self._clock,
            lambda pick: self._start_helper(cancel_one, sandbox, pick=pick),
        )
        with self._clock_in_use():
            target_cluster.start()
            began = time.monotonic()
            sending = self._sending = SenderSupervisor(
                sandbox, lambda seconds: self._send(sandbox, seconds), run_options.seconds
            )
            self._inject_faults(began, injector)
            injector.wait_until_over()
            self._wait_until_done(sending, target_cluster)
        return began, target_cluster

    def _send(self, sandbox: Sandbox, seconds: float) -> BaseProcess:
        return self._start_helper(send, sandbox, seed=self._options.seed, rate=self._options.rate, seconds=seconds)

    @contextmanager
    def _clock_in_use(self) -> Iterator[None]:
        """Make this process, and so the clusters that it forks, read the clock that can be set."""
        if FaultKind.CLOCK not in self._options.events:
            yield
            return
        self._clock.install()
        try:
            yield
        finally:
            self._clock.remove()

    def _check(self) -> set[str]:
        """The databases in use. Raises ``ClusterError`` if the queue or the table of results cannot be used."""
        client = Client(self._sandbox.settings)
        client.broker.size()
        client.results.rows.count(self._sandbox.group)
        client.broker.close()
        connections.close_all()
        places = (client.results.database or router.db_for_write(Task), getattr(client.broker, "database", None))
        return {alias for alias in places if isinstance(alias, str)}

    def _start_helper(self, target: Callable[..., None], sandbox: Sandbox, **keywords: Any) -> BaseProcess:
        def with_the_real_clock() -> None:
            self._clock.remove()
            target(sandbox, **keywords)

        process: BaseProcess = self._context.Process(target=with_the_real_clock, daemon=True)
        process.start()
        self._helpers.append(process)
        return process

    # ── faults ───────────────────────────────────────────────────────────────────────────────────

    def _inject_faults(self, began: float, injector: FaultInjector) -> None:
        """Inject the planned faults while tasks are sent.

        A fault that had to wait for its target delays the later ones, so that new processes are not hit immediately.
        """
        run_options, late = self._options, 0.0
        fault_types = run_options.fault_types(
            scheduler=self._sandbox.settings.schedule.enabled, network=not self._network.obstacle
        )
        for fault in draw_faults(
            run_options.seed, run_options.seconds, run_options.every, fault_types, run_options.duration_ranges()
        ):
            if fault.at + late >= run_options.seconds:
                break
            self._wait_until(began + fault.at + late)
            if (injected := injector.inject(fault)) is not None:
                self._faults.append(injected)
                append_line(self._sandbox.faults, *injected)
            late = max(late, time.monotonic() - began - fault.at)
        self._wait_until(began + run_options.seconds)

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            for each in (self._target_cluster, self._sending):
                if each is not None:
                    each.supervise()
            time.sleep(min(left, POLL_SECONDS))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _wait_until_done(self, sending: SenderSupervisor, target_cluster: TargetCluster) -> None:
        """Wait until every accepted task has a row and the queue is empty, or until there is no progress.

        The size of the queue is not enough: not every broker counts leased messages.
        """
        sending.finish(POLL_SECONDS)
        self._incidents += sending.incidents
        self._say("No more faults; waiting for unfinished tasks.")
        # A refused call may have reached the server: a task that has run needs a row, too.
        expected, runs = (
            {task for word, task, *_ in read_all(self._sandbox.calls) if word == ACCEPTED},
            JournalReader(self._sandbox.executions),
        )
        stalled, reader = self._options.lease * 3 + STALL_TIMEOUT_SECONDS, JournalReader(self._sandbox.progress)
        over, moved, best = time.monotonic(), time.monotonic(), -1
        while time.monotonic() - moved < stalled:
            expected |= {task for word, task, *_ in runs.read_new() if word == ENDED}
            for sample in progress_from(reader.read_new()):
                self._progress.append(sample)
                if sample.done > best:
                    best, moved = sample.done, time.monotonic()
            last = self._progress[-1] if self._progress else None
            if last and last.at > over and last.done >= len(expected) and not last.waiting:
                return
            target_cluster.supervise()
            time.sleep(POLL_SECONDS)
        if self._progress and self._progress[-1].waiting:
            self._incidents.append(f"No progress for {stalled:g} seconds, and the queue is not empty.")

    def _end(self, helper: BaseProcess) -> None:
        helper.terminate()
        helper.join()

    def _evidence(self, began: float, target_cluster: TargetCluster) -> Observations:
        sandbox, client = self._sandbox, Client(self._sandbox.settings)
        left = target_cluster.leftovers()
        rows = saved_tasks(client.results.database).in_group(sandbox.group, failures=True)
        return Observations(
            broker=f"{client.broker.title} ({client.broker.info()})",
            seed=self._options.seed,
            began=began,
            seconds=self._options.seconds,
            lease=self._options.lease,
            calls=calls_from(read_all(sandbox.calls)),
            executions=executions_from(read_all(sandbox.executions)),
            process_starts=target_cluster.process_starts,
            faults=self._faults,
            cancelled=[task for task, _ in read_all(sandbox.cancels)],
            progress=self._progress,
            rows=[ResultRow(*row) for row in rows.order_by().values_list("pk", "success", "status")],
            left=left,
            messages_left=client.broker.size().total,
            not_applicable=self._not_applicable(),
            incidents=[*self._incidents, *target_cluster.incidents],
        )

    def _not_applicable(self) -> list[str]:
        return [self._network.obstacle] if self._network.obstacle and self._options.events & set(NETWORK) else []

    def _clean_up(self) -> None:
        """Empty the queue of the run and, without ``--keep``, delete its rows."""
        for helper in self._helpers:
            self._end(helper)
        if self._injector is not None:
            self._injector.wait_until_over()
        if self._target_cluster is not None:
            self._target_cluster.stop_immediately()
        client = Client(self._sandbox.settings)
        with suppress(ClusterError):
            client.broker.purge()
            if not self._options.keep:
                client.results.rows.delete_group(self._sandbox.group, tasks=True)
        client.broker.close()
