"""The composition root of each role: builds what a process needs, and runs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from django_cluster.brokers import open_broker, open_brokers
from django_cluster.brokers.base import Broker
from django_cluster.brokers.multi_queue import MultiQueueBroker
from django_cluster.brokers.queue_servers import servers_of_queues
from django_cluster.cluster.bootstrap.run_observer import observe_runs
from django_cluster.cluster.bootstrap.scheduler_main import scheduler_main
from django_cluster.cluster.bootstrap.task_cleanup import TaskCleanup, clean_up_connections, end_transactions
from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole, process_signature
from django_cluster.cluster.ipc.process_row import ProcessCommand
from django_cluster.cluster.ipc.remote_ack import RemoteAcknowledger
from django_cluster.cluster.ipc.running_jobs import RunningJobsReader
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import COMMAND
from django_cluster.cluster.roles.cancelled_tasks import CancelledTasks
from django_cluster.cluster.roles.heartbeat import HeartbeatPublisher
from django_cluster.cluster.roles.monitor import Monitor
from django_cluster.cluster.roles.notifications import Notifications
from django_cluster.cluster.roles.notifier import Notifier
from django_cluster.cluster.roles.paused_tasks import PausedTasks
from django_cluster.cluster.roles.pusher import Pusher
from django_cluster.cluster.roles.worker import Worker
from django_cluster.core.allowed_functions import REGISTERED
from django_cluster.core.codec import Codec
from django_cluster.core.current_task import RunEnvironment, checkpoint_signer
from django_cluster.core.events.cluster import BROKER_WARNING
from django_cluster.core.log_records import install_task_filter
from django_cluster.core.settings import Settings
from django_cluster.core.signing import ValueSigner
from django_cluster.core.task_progress import install_progress_sink
from django_cluster.database.watchdog import max_wait, start_watchdog
from django_cluster.errors import BrokerError, StoreUnavailable
from django_cluster.lifecycle.continuations import Continuations
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.recorder import Recorder
from django_cluster.lifecycle.send import TaskRouter
from django_cluster.lifecycle.task_context import InitialContext
from django_cluster.lifecycle.tracking import RunTracker, worker_id
from django_cluster.schedules.declarations import discover
from django_cluster.stores import open_results
from django_cluster.stores.cancel_requests import CancelRequestStore
from django_cluster.stores.routed import RoutedResults


def monitor_main(incarnation: Incarnation, settings: Settings, board: Scoreboard, control: ControlPipe) -> None:
    start_watchdog(max_wait(max(section.lease for section in settings.broker_sections)))
    results = open_results(settings.results, history_of=incarnation.runtime_dir.cluster)
    broker = open_brokers(settings)
    continuations = open_continuations(settings, results, broker, incarnation.runtime_dir.cluster)
    acknowledger = (
        broker if broker.capabilities.portable_receipts else RemoteAcknowledger(incarnation.runtime_dir.pusher_socket)
    )
    recorder = Recorder(results, acknowledger, settings.delivery, continuations, queue_settings=settings.queue_settings)

    def maintain() -> None:
        recorder.catch_up()
        results.prune()

    heartbeat = (
        HeartbeatPublisher(
            settings, board, incarnation.runtime_dir.cluster, RunningJobsReader(incarnation.runtime_dir.path)
        )
        if settings.processes.heartbeat_interval
        else None
    )
    Monitor(
        incarnation,
        board,
        control,
        recorder,
        notifications=Notifications(board, reports=bool(settings.reporters)),
        prune=maintain,
        heartbeat=heartbeat,
        servers=servers_of_queues(settings.broker_sections),
    ).run()
    with suppress(StoreUnavailable):
        results.close()
    acknowledger.close()


def open_continuations(settings: Settings, results: RoutedResults, broker: Broker, cluster: str) -> Continuations:
    """Continuations that send what follows a task to the queue that it names, by default to the first of the cluster.

    ``cluster``: the id under which pending steps are claimed. A cluster has one monitor at a time, and the next one
    takes over the claims of its predecessor immediately.
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
    install_task_filter()
    results = open_results(settings.results)
    notifier = Notifier(
        incarnation,
        board,
        control,
        open_reporters(settings, incarnation.name),
        results.get,
        settings.signing.functions,
        results.tracked.get,
    )
    os.register_at_fork(after_in_child=notifier.disconnect)
    notifier.run()


def pusher_main(incarnation: Incarnation, settings: Settings, board: Scoreboard, control: ControlPipe) -> None:
    start_watchdog(max_wait(max(section.lease for section in settings.broker_sections)))
    broker, codec = open_brokers(settings), Codec(settings.signing)
    prepare_broker(broker)
    Pusher(incarnation, board, control, broker, codec, (settings.broker, settings.processes)).run()


def prepare_broker(broker: Broker) -> None:
    """Prepare a broker, once in the life of a pusher. One that is unavailable is left to the next pusher."""
    with suppress(BrokerError):
        broker.prepare()
        for warning in broker.warnings():
            BROKER_WARNING.log(warning=warning)


def worker_main(incarnation: Incarnation, settings: Settings, board: Scoreboard, control: ControlPipe) -> None:
    signing = settings.signing
    install_task_filter()
    name = process_signature(incarnation.role, incarnation.index, os.getpid())
    reporters, results = open_reporters(settings, name), open_results(settings.results)
    cancels = CancelledTasks(board, incarnation.row, CancelRequestStore(settings.results.database))
    executor = Executor(
        Codec(settings.signing),
        ValueSigner(signing.secret, signing.fallbacks, signing.serializer, settings.results.max_result_size),
        reporters,
        timeout=settings.processes.timeout,
        timeouts={each.queue: each.timeout for each in settings.queue_settings},
        worker=name,
        has_succeeded=results.groups.has_succeeded,
        initial=InitialContext(),
        paused=PausedTasks(board).delay_of,
        cancels=cancels,
        tracker=RunTracker(
            results.tracked,
            settings.delivery,
            queue_settings=settings.queue_settings,
            worker=worker_id(settings.name, os.uname().nodename, os.getpid(), incarnation.number),
            keeps_rows=settings.results.save_limit >= 0 and not settings.results.cached,
            leaves_ends=True,
            settle=end_transactions,
        ),
        environment=RunEnvironment(
            is_cancelled=partial(board.is_cancelled, incarnation.row),
            should_stop=lambda: board.get(incarnation.row, COMMAND) == ProcessCommand.STOP,
            checkpoints=results.checkpoints,
            signer=checkpoint_signer(signing),
        ),
        observer=observe_runs(incarnation, settings.processes),
    )
    if REGISTERED in signing.functions:
        discover()  # registered functions must be known before the first message is admitted
    cleanup = TaskCleanup()
    worker = Worker(
        incarnation,
        board,
        control,
        executor,
        settings.processes,
        clean_up=cleanup,
        prepare=cleanup.prepare,
        tidy_thread=clean_up_connections,
    )
    os.register_at_fork(after_in_child=worker.disconnect)
    install_progress_sink(worker.report_progress)
    signal.signal(signal.SIGURG, lambda _number, _frame: cancels.point.interrupt())
    worker.run()
    reporters.flush()


def open_reporters(settings: Settings, worker: str) -> ErrorReporters:
    return ErrorReporters(
        settings.reporters,
        queue=", ".join(settings.queues),
        worker=worker,
        delivery=settings.delivery,
        queue_settings=settings.queue_settings,
    )


ROLE_MAINS: dict[ProcessRole, Callable[[Incarnation, Settings, Scoreboard, ControlPipe], Any]] = {
    ProcessRole.MONITOR: monitor_main,
    ProcessRole.PUSHER: pusher_main,
    ProcessRole.WORKER: worker_main,
    ProcessRole.SCHEDULER: scheduler_main,
    ProcessRole.NOTIFIER: notifier_main,
}
