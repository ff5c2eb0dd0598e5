"""What every child does first, and the composition root of each role.

A child is started with its incarnation, the settings and its end of the sentinel's pipe, and builds everything
else itself: nothing that it uses was opened before the fork.
"""

from __future__ import annotations

import _signal as plain_signal  # what ``signal`` wraps: it says numbers, and makes no enum of each of them
import faulthandler
import math
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import IO, Any

from django.db import connections, router

from django_cluster.brokers import open_broker, open_brokers
from django_cluster.brokers.base import Broker
from django_cluster.brokers.multi_queue import MultiQueueBroker, server_numbers, servers_of_queues
from django_cluster.brokers.payload_offload import OffloadingBroker
from django_cluster.brokers.publisher import delay_queue
from django_cluster.cluster.bootstrap.fork_safety import discard_inherited_connections
from django_cluster.cluster.bootstrap.host import die_with_parent, pin_to_cpus, set_title
from django_cluster.cluster.bootstrap.orphan_watchdog import exit_when_orphaned
from django_cluster.cluster.bootstrap.sqlite_locks import wait_for_locks
from django_cluster.cluster.bootstrap.task_cleanup import TaskCleanup, ignore_signal
from django_cluster.cluster.ipc.control_pipe import SENTINEL_SIGNALS, ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole, process_signature
from django_cluster.cluster.ipc.remote_ack import RemoteAcknowledger
from django_cluster.cluster.ipc.scoreboard import PID, STATE, ProcessState, Scoreboard
from django_cluster.cluster.roles.heartbeat import HeartbeatPublisher
from django_cluster.cluster.roles.idleness import IdleReporter
from django_cluster.cluster.roles.monitor import Monitor
from django_cluster.cluster.roles.notifications import Notifications
from django_cluster.cluster.roles.notifier import Notifier
from django_cluster.cluster.roles.pusher import Pusher
from django_cluster.cluster.roles.scheduler import Periodic, Scheduler, ServerLoop
from django_cluster.cluster.roles.worker import Worker
from django_cluster.cluster.roles.worker_exit import crash_file
from django_cluster.core.allowed_functions import REGISTERED
from django_cluster.core.backoff import ReconnectBackoff
from django_cluster.core.codec import Codec
from django_cluster.core.events.cluster import BROKER_WARNING
from django_cluster.core.events.processes import CPUS_NOT_BOUND
from django_cluster.core.events.servers import SCHEDULING
from django_cluster.core.liveness import install_reporter
from django_cluster.core.settings import BrokerSettings, Settings
from django_cluster.core.signing import ValueSigner
from django_cluster.core.sqlite_options import OWN_TIMEOUT, TASK_TIMEOUT
from django_cluster.database.clock import DatabaseServerClock
from django_cluster.database.connection import close_if_stale
from django_cluster.database.watchdog import max_wait, start_watchdog
from django_cluster.errors import BrokerError
from django_cluster.lifecycle.continuations import Continuations
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.queue_transfer import QueueTransfer
from django_cluster.lifecycle.recorder import Recorder
from django_cluster.lifecycle.send import TaskRouter
from django_cluster.lifecycle.signal_dispatch import send_signal
from django_cluster.lifecycle.task_context import InitialContext
from django_cluster.models.schedule import Schedule
from django_cluster.schedules.declarations import discover
from django_cluster.signals import post_spawn
from django_cluster.stores import open_results
from django_cluster.stores.routed import RoutedResults

ORPHAN_SECONDS = 10
"""Seconds that a child may live on when its sentinel is dead, to file and give back what it holds."""
ERROR_EXIT_CODE = 1
"""The exit code of a child that an error has ended, as multiprocessing has it."""
MAX_SCHEDULER_WAIT_SECONDS = 1.0
"""Seconds of the scheduler's longest sleep: it gives a sign of life before each."""
RUN_USER_CODE = (ProcessRole.WORKER, ProcessRole.NOTIFIER)
"""Roles that may block in project code: they end immediately with the sentinel."""
SERVERS = "Schedule table or broker"
"""What the scheduler waits for during an outage, as the subject of a log line."""
THREAD_EXIT_SECONDS = 2
"""Seconds for threads that are still at work when their process has nothing more to do."""


def run_child(incarnation: Incarnation, settings: Settings, pipe: Connection, inherited: tuple[int, ...]) -> None:
    """The target of every process of the crew. ``inherited``: descriptors of siblings that a fork copied."""
    for descriptor in inherited:
        os.close(descriptor)
    _take_signals(incarnation)
    board = incarnation.runtime_dir.open_scoreboard()
    board.set(incarnation.row, PID, os.getpid())
    set_title(f"qcluster {settings.name} {incarnation.name}")
    if settings.testing and incarnation.cpus:
        CPUS_NOT_BOUND.log(process_name=incarnation.name, cpus=list(incarnation.cpus))
    else:
        pin_to_cpus(incarnation.cpus)
    discard_inherited_connections()
    wait_for_locks(TASK_TIMEOUT if incarnation.role in RUN_USER_CODE else OWN_TIMEOUT)
    control = ControlPipe(pipe, board, incarnation.row)
    install_reporter(partial(board.report_alive, incarnation.row))
    if incarnation.role is not ProcessRole.WORKER:
        exit_when_orphaned(ORPHAN_SECONDS)
    send_signal(post_spawn, proc_name=incarnation.name)
    if post_spawn.receivers:
        connections.close_all()  # whatever a receiver has done to a session
    try:
        ROLE_MAINS[incarnation.role](incarnation, settings, board, control)
    except BaseException:
        _wait_for_threads_a_while(ERROR_EXIT_CODE)
        raise
    if control.orphaned and (incarnation.role is ProcessRole.MONITOR or not board.others_alive(incarnation.row)):
        incarnation.runtime_dir.remove()  # the last one out; a monitor has waited for the pusher
    board.set(incarnation.row, STATE, ProcessState.STOPPING)
    connections.close_all()
    _wait_for_threads_a_while(0)


def _wait_for_threads_a_while(code: int) -> None:
    """The interpreter waits for every thread that a task has left behind; a incarnation cannot wait for ever."""
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(code))
    signal.alarm(THREAD_EXIT_SECONDS)


def _take_signals(incarnation: Incarnation) -> None:
    """Only the sentinel ends a child: TERM and INT that reach the whole group are the sentinel's business.

    Programs that a task starts get the defaults back, because an ignored signal would stay ignored in them.
    """
    signal.set_wakeup_fd(-1)
    for number in SENTINEL_SIGNALS:
        plain_signal.signal(number, ignore_signal)
    plain_signal.pthread_sigmask(signal.SIG_UNBLOCK, SENTINEL_SIGNALS)  # see start_forkserver
    plain_signal.signal(signal.SIGCHLD, plain_signal.SIG_DFL)
    if incarnation.own_group:
        os.setpgid(0, 0)
    if incarnation.role in RUN_USER_CODE:
        die_with_parent(signal.SIGKILL)
    else:
        plain_signal.signal(signal.SIGUSR2, _orphaned)
        die_with_parent(signal.SIGUSR2)
    faulthandler.enable(_crash_file(incarnation))


def _crash_file(incarnation: Incarnation) -> IO[bytes]:
    """Open for as long as the process lives; the pusher reads it when the worker has crashed."""
    return open(crash_file(incarnation.runtime_dir.path, incarnation.number), "wb", buffering=0)


def _orphaned(_number: int, _frame: object) -> None:
    """The sentinel is dead: finish, but let the kernel end us if we hang over it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(ORPHAN_SECONDS)


# ── the composition root of each role ────────────────────────────────────────────────────────────


def monitor_main(incarnation: Incarnation, settings: Settings, board: Scoreboard, control: ControlPipe) -> None:
    start_watchdog(max_wait(max(section.lease for section in settings.broker_sections)))
    results = open_results(settings.results)
    broker = open_brokers(settings)
    continuations = open_continuations(settings, results, broker, incarnation.runtime_dir.cluster)
    settler = (
        broker if broker.capabilities.portable_receipts else RemoteAcknowledger(incarnation.runtime_dir.pusher_socket)
    )
    recorder = Recorder(results, settler, settings.delivery, continuations, queue_settings=settings.queue_settings)

    def look_after() -> None:
        recorder.catch_up()
        results.prune()

    heartbeat = (
        HeartbeatPublisher(settings, board, incarnation.runtime_dir.cluster)
        if settings.processes.heartbeat_interval
        else None
    )
    Monitor(
        incarnation,
        board,
        control,
        recorder,
        notifications=Notifications(board, reports=bool(settings.reporters)),
        prune=look_after,
        heartbeat=heartbeat,
        servers=servers_of_queues(settings.broker_sections),
    ).run()
    settler.close()


def open_continuations(settings: Settings, results: RoutedResults, broker: Broker, cluster: str) -> Continuations:
    """What follows goes to the queue that it names; otherwise to that of the root, also where ``broker`` is several.

    A cluster has one monitor at a time: the next one takes over at once what the one before has owed.
    """
    codec = Codec(settings.signing)
    members = broker.members if isinstance(broker, MultiQueueBroker) else [broker]
    home = next((each for each in members if each.queue == settings.queue), None) or open_broker(settings.broker)
    forward = TaskRouter(codec, home, settings.brokers, beside=members, queue_brokers=settings.queue_brokers).forward
    one_server = (
        not (settings.brokers or settings.queue_brokers) and len({each.database for each in (home, *members)}) == 1
    )
    return Continuations(results.groups, codec, forward, claimed_by=cluster, one_server=one_server)


def notifier_main(incarnation: Incarnation, settings: Settings, board: Scoreboard, control: ControlPipe) -> None:
    results = open_results(settings.results)
    notifier = Notifier(
        incarnation, board, control, reporters_of(settings, incarnation.name), results.get, settings.signing.functions
    )
    os.register_at_fork(after_in_child=notifier.disconnect)
    notifier.run()


def pusher_main(incarnation: Incarnation, settings: Settings, board: Scoreboard, control: ControlPipe) -> None:
    start_watchdog(max_wait(max(section.lease for section in settings.broker_sections)))
    broker, codec = open_brokers(settings), Codec(settings.signing)
    prepare(broker)
    Pusher(incarnation, board, control, broker, codec, (settings.broker, settings.processes)).run()


def prepare(broker: Broker) -> None:
    """Once in the life of a pusher; a broker that is away now will be prepared by its successor, or not at all."""
    with suppress(BrokerError):
        broker.prepare()
        for concern in broker.warnings():
            BROKER_WARNING.log(warning=concern)


def worker_main(incarnation: Incarnation, settings: Settings, board: Scoreboard, control: ControlPipe) -> None:
    signing = settings.signing
    name = process_signature(incarnation.role, incarnation.index, os.getpid())
    reporters = reporters_of(settings, name)
    executor = Executor(
        Codec(settings.signing),
        ValueSigner(signing.secret, signing.fallbacks, signing.serializer, settings.results.max_result_size),
        reporters,
        timeout=settings.processes.timeout,
        timeouts={each.queue: each.timeout for each in settings.queue_settings},
        worker=name,
        has_succeeded=open_results(settings.results).groups.has_succeeded,
        initial=InitialContext(),
    )
    if REGISTERED in signing.functions:
        discover()  # what is registered must be known before any message is asked what it wants
    cleanup = TaskCleanup()
    worker = Worker(
        incarnation, board, control, executor, settings.processes, clean_up=cleanup, prepare=cleanup.prepare
    )
    os.register_at_fork(after_in_child=worker.disconnect)
    worker.run()
    reporters.flush()


def reporters_of(settings: Settings, worker: str) -> ErrorReporters:
    return ErrorReporters(
        settings.reporters,
        queue=", ".join(settings.queues),
        worker=worker,
        delivery=settings.delivery,
        queue_settings=settings.queue_settings,
    )


def scheduler_main(incarnation: Incarnation, settings: Settings, board: Scoreboard, control: ControlPipe) -> None:
    start_watchdog(max_wait(max(section.lease for section in settings.broker_sections)))
    loops = server_loops(settings)
    idle = IdleReporter(board, incarnation.row)
    board.set(incarnation.row, STATE, ProcessState.IDLE)
    while not control.stop_requested:
        board.report_alive(incarnation.row)
        pause = min(each.run(alone=len(loops) == 1) for each in loops)
        if pause > 0 and not any(each.backoff.failing for each in loops):
            idle.note(idle=True)  # what becomes due later is not waited for
        for connection in connections.all(initialized_only=True):
            close_if_stale(connection)  # not closed each time: connecting would be all that it does
        wait_for([control.fileno()], min(pause, MAX_SCHEDULER_WAIT_SECONDS))


def server_loops(settings: Settings) -> list[ServerLoop]:
    """One for each server: while one is away, the queues of the others are looked after."""
    jobs: dict[int, list[Callable[[], float]]] = defaultdict(list)
    for server, section in zip(server_numbers(settings.broker_sections), settings.broker_sections, strict=True):
        jobs[server] += queue_jobs(section, settings)
    return [ServerLoop(each, ReconnectBackoff(SERVERS, events=SCHEDULING)) for each in jobs.values()]


def queue_jobs(section: BrokerSettings, settings: Settings) -> Iterator[Callable[[], float]]:
    """What a scheduler does for one queue; each returns the seconds until it is to be done again."""
    broker = open_broker(section)
    if settings.schedule.enabled:
        sender = TaskRouter(Codec(settings.signing), broker, settings.brokers, queue_brokers=settings.queue_brokers)
        database = settings.results.database or router.db_for_write(Schedule)
        yield Scheduler(
            settings.schedule,
            clock=DatabaseServerClock(database),
            queue=section.queue,
            is_default=section.queue == settings.name,
            send=sender.send_once,
            sent=sender.forget,
            database=database,
            broker_database=broker.database,
        ).tick
    yield delayed_message_job(broker, settings.schedule.interval)
    if isinstance(broker, OffloadingBroker):
        yield Periodic(broker.delete_expired)


def delayed_message_job(broker: Broker, interval: float) -> Callable[[], float]:
    """Sends what this broker could not delay for so long. One that can is given at first what another has left."""
    held = QueueTransfer(delay_queue(broker.settings), broker)
    unlimited = broker.capabilities.longest_delay == math.inf
    looked = False

    def move() -> float:
        nonlocal looked
        if unlimited and not looked:
            held.run()
        elif not unlimited:
            held.move_due()
        looked = True
        return math.inf if unlimited else interval

    return move


ROLE_MAINS: dict[ProcessRole, Callable[[Incarnation, Settings, Scoreboard, ControlPipe], Any]] = {
    ProcessRole.MONITOR: monitor_main,
    ProcessRole.PUSHER: pusher_main,
    ProcessRole.WORKER: worker_main,
    ProcessRole.SCHEDULER: scheduler_main,
    ProcessRole.NOTIFIER: notifier_main,
}
