"""The steps of a task's life (house 3.7), each measured alone, with the functions that really do it.

Runs in the agent, on a harness of its own. What is left when these are added up and set against the processes
of a running cluster is the machinery between them: waking, waiting, passing on.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tasks import noop
from benchmarks.timing import Step, Timing, time_each
from django_cluster.brokers import open_broker
from django_cluster.brokers.messages import Delivery, Message
from django_cluster.client.client import Client, get_client
from django_cluster.cluster.bootstrap.task_cleanup import TaskCleanup
from django_cluster.cluster.ipc.channel import Channel
from django_cluster.cluster.ipc.protocol import Jobs, Outcomes, decode, encode
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.roles.prefetch import PrefetchWindow
from django_cluster.core.import_paths import load
from django_cluster.core.messages import DEFAULT_OPTIONS, Job, Outcome
from django_cluster.core.packages import build_packages
from django_cluster.core.signing import ValueSigner
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.recorder import Recorder
from django_cluster.lifecycle.task_context import InitialContext
from django_cluster.tasks import async_bulk, async_task

BATCH = 256
FRAME = 64
PURE, ALONE, BATCHES = 4_000, 300, 30
"""How often: what only computes, what asks a server for one task, and what asks it for a batch."""
TASK = "benchmarks.tasks.noop"


def measure_steps() -> list[Step]:
    """All steps, in the order of a task's life."""
    bench = Bench(get_client())
    return [*bench.sender(), *bench.pusher(), *bench.line(), *bench.worker(), *bench.monitor()]


class Bench:
    """The parts of a cluster, on one table."""

    def __init__(self, client: Client) -> None:
        settings, signing = client.settings, client.settings.signing
        self.codec, self.broker, self.results = client.codec, client.broker, client.results
        self.seal = ValueSigner(signing.secret, signing.fallbacks, signing.serializer)
        self.executor = Executor(
            self.codec,
            self.seal,
            ErrorReporters(settings.reporters),
            timeout=settings.processes.timeout,
            worker="worker 1",
            initial=InitialContext(),  # as a worker has it, made once
        )
        self.acknowledger = open_broker(settings.broker)
        self.recorder = Recorder(self.results, self.acknowledger, settings.delivery)

    # ── the sender ───────────────────────────────────────────────────────────────────────────────

    def sender(self) -> list[Step]:
        packages = build_packages(TASK, [()] * PURE, {}, DEFAULT_OPTIONS)
        message = Message(self.codec.dumps(packages[0]))
        step = steps_of("sender")
        found = [
            step("build the package", time_each(build_one, range(PURE))),
            step("pickle, sign and encode it", time_each(self.codec.dumps, packages)),
            step("enqueue one", time_each(self.broker.enqueue, [[message]] * ALONE)),
            step(f"enqueue {BATCH}", time_each(self.broker.enqueue, [[message] * BATCH] * BATCHES, BATCH)),
            step("all of async_task", time_each(async_task, [TASK] * ALONE)),
            step(f"all of async_bulk of {BATCH}", time_each(bulk, range(BATCHES), BATCH)),
        ]
        self.broker.purge()
        return found

    # ── the pusher ───────────────────────────────────────────────────────────────────────────────

    def pusher(self) -> list[Step]:
        self.fill(BATCHES * BATCH)
        step = steps_of("pusher")
        leased: list[Delivery] = []
        lease = time_each(lambda _: leased.extend(self.broker.lease(BATCH)), range(BATCHES), BATCH)
        verify = time_each(self.codec.verify, [delivery.payload for delivery in leased])
        found = [step(f"lease {BATCH}", lease), step("decode and verify", verify)]
        found.append(step(f"renew {BATCH}", time_each(self.broker.renew, in_batches(receipts(leased)), BATCH)))
        self.broker.purge()
        return found

    # ── the private lines ────────────────────────────────────────────────────────────────────────

    def line(self) -> list[Step]:
        jobs, outcomes = self.jobs(FRAME), self.outcomes(FRAME)
        return [
            Step("line", f"{count} {what} in a frame: {side}", timing.wall, timing.cpu)
            for what, kind, values in (("jobs", Jobs, jobs), ("outcomes", Outcomes, outcomes))
            for count in (1, FRAME)
            for side, timing in frames(kind, values[:count]).items()
        ]

    # ── the worker ───────────────────────────────────────────────────────────────────────────────

    def worker(self) -> list[Step]:
        jobs = self.jobs(PURE)
        labels = [self.codec.split(job.body) for job in jobs]
        pairs = list(zip(jobs, labels, strict=True))
        step, tidy = steps_of("worker"), TaskCleanup()
        return [
            step("note begin and end on the scoreboard", time_each(scoreboard(), range(PURE))),
            step("read the header", time_each(lambda job: self.codec.split(job.body), jobs)),
            step("open the arguments", time_each(lambda pair: self.codec.open(pair[0].body, *pair[1]), pairs)),
            step("find the function", time_each(load, [TASK] * PURE)),
            step("the task itself", time_each(lambda _: noop(), range(PURE))),
            step(
                "seal the arguments", time_each(lambda pair: self.codec.seal_arguments(pair[0].body, *pair[1]), pairs)
            ),
            step("seal the result", time_each(lambda value: self.seal.dumps(value, b"result:id"), [1] * PURE)),
            step("all of Executor.run", time_each(self.executor.run, jobs)),
            step("put right what it may have left", time_each(lambda _: tidy(), range(PURE))),
            step("adapt the window", time_each(PrefetchWindow().observe, [1e-5] * PURE)),
        ]

    # ── the monitor ──────────────────────────────────────────────────────────────────────────────

    def monitor(self) -> list[Step]:
        step = steps_of("monitor")
        plain: list[tuple[Any, ...]] = [tuple(outcome) for outcome in self.outcomes(PURE)]
        found = [
            step("make outcomes of tuples", time_each(lambda values: Outcome(*values), plain)),
            step("save one row", time_each(self.results.save, [[each] for each in self.outcomes(ALONE)])),
            step(f"save {BATCH} rows", time_each(self.results.save, self.batches_of_outcomes(), BATCH)),
        ]
        leased = in_batches(receipts(self.leased(BATCHES * BATCH)))
        found.append(step(f"acknowledge {BATCH}", time_each(self.acknowledger.acknowledge, leased, BATCH)))
        batches = self.batches_of_outcomes(self.leased(BATCHES * BATCH))
        found.append(step(f"all of Recorder.record of {BATCH}", time_each(self.recorder.record, batches, BATCH)))
        return found

    # ── material ─────────────────────────────────────────────────────────────────────────────────

    def fill(self, count: int) -> None:
        async_bulk(TASK, [()] * count)

    def leased(self, count: int) -> list[Delivery]:
        """Messages that are lent to us."""
        self.fill(count)
        found: list[Delivery] = []
        while len(found) < count:
            found.extend(self.broker.lease(count - len(found)))
        return found

    def jobs(self, count: int, deliveries: Sequence[Delivery] = ()) -> list[Job]:
        bodies = [
            self.codec.verify(self.codec.dumps(package))
            for package in build_packages(TASK, [()] * count, {}, DEFAULT_OPTIONS)
        ]
        names = receipts(deliveries) if deliveries else [f"0123456789abcdef:1:{number:04d}" for number in range(count)]
        return [Job(number, *pair, 1) for number, pair in enumerate(zip(bodies, names, strict=True))]

    def outcomes(self, count: int, deliveries: Sequence[Delivery] = ()) -> list[Outcome]:
        return [self.executor.run(job) for job in self.jobs(count, deliveries)]

    def batches_of_outcomes(self, deliveries: Sequence[Delivery] = ()) -> list[list[Outcome]]:
        return in_batches(self.outcomes(BATCHES * BATCH, deliveries))


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────


def steps_of(process: str) -> Callable[[str, Timing], Step]:
    return lambda what, timing: Step(process, what, timing.wall, timing.cpu)


def build_one(_number: int) -> None:
    build_packages(TASK, [()], {}, DEFAULT_OPTIONS)


def bulk(_number: int) -> None:
    async_bulk(TASK, [()] * BATCH)


def receipts(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.receipt for delivery in deliveries]


def in_batches(values: list[Any]) -> list[list[Any]]:
    return [values[start : start + BATCH] for start in range(0, len(values), BATCH)]


def frames(kind: Any, values: Sequence[tuple[Any, ...]]) -> dict[str, Timing]:
    """Writing and reading one frame, apart; both ends are here, so nobody is woken."""
    near, far = socket.socketpair()
    sending, receiving = Channel(near), Channel(far)
    message = kind(list(values))
    rounds = PURE // len(values)
    written, read = Timing(0, 0), Timing(0, 0)
    for _ in range(rounds):
        write = time_each(lambda each: sending.send(encode(each)), [message], len(values))
        hear = time_each(lambda _: list(map(decode, receiving.receive()[0])), range(1), len(values))
        written = Timing(written.wall + write.wall / rounds, written.cpu + write.cpu / rounds)
        read = Timing(read.wall + hear.wall / rounds, read.cpu + hear.cpu / rounds)
    near.close()
    far.close()
    return {"write": written, "read": read}


def scoreboard() -> Callable[[int], None]:
    with tempfile.TemporaryDirectory() as folder:
        board = Scoreboard.create(Path(folder) / "board", 1)

    def note(number: int) -> None:
        board.begin_job(0, number, 1.0, 0.0)
        board.finish_job(0)

    return note
