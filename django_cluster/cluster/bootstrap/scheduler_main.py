"""The composition root of the scheduler: what it does for each queue and each server."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait as wait_for

from django.db import connections, router

from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.payload_offload import OffloadingBroker
from django_cluster.brokers.publisher import Publisher, delay_queue
from django_cluster.brokers.queue_servers import server_numbers
from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation
from django_cluster.cluster.ipc.process_row import ProcessState
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import STATE
from django_cluster.cluster.roles.idleness import IdleReporter
from django_cluster.cluster.roles.scheduler import Periodic, Scheduler, ServerLoop
from django_cluster.core.backoff import ReconnectBackoff
from django_cluster.core.codec import Codec
from django_cluster.core.events.servers import SCHEDULING
from django_cluster.core.settings import BrokerSettings, Settings
from django_cluster.database.clock import DatabaseServerClock
from django_cluster.database.connection import close_if_stale
from django_cluster.database.watchdog import max_wait, start_watchdog
from django_cluster.lifecycle.queue_transfer import QueueTransfer
from django_cluster.lifecycle.send import TaskRouter
from django_cluster.lifecycle.unsent import UnsentTasks
from django_cluster.models.schedule import Schedule
from django_cluster.stores import open_results

SERVERS = "Schedule table or broker"
"""What the scheduler waits for during an outage, as the subject of a log line."""
MAX_WAIT_SECONDS = 1.0
"""Seconds of the scheduler's longest sleep: it reports that it is alive before each."""


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
            close_if_stale(connection)  # closed only then: otherwise each turn would connect anew
        wait_for([control.fileno()], min(pause, MAX_WAIT_SECONDS))


def server_loops(settings: Settings) -> list[ServerLoop]:
    """One loop for each server: while one is unavailable, the queues of the others are still served."""
    jobs: dict[int, list[Callable[[], float]]] = defaultdict(list)
    for server, section in zip(server_numbers(settings.broker_sections), settings.broker_sections, strict=True):
        jobs[server] += queue_jobs(section, settings)
    return [ServerLoop(each, ReconnectBackoff(SERVERS, events=SCHEDULING)) for each in jobs.values()]


def queue_jobs(section: BrokerSettings, settings: Settings) -> Iterator[Callable[[], float]]:
    """What a scheduler does for one queue. Each job returns the seconds until it is to be done again."""
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
    results = open_results(settings.results)
    if broker.database != results.database:  # else rows and messages are one transaction
        yield UnsentTasks(
            results.tracked,
            Publisher(broker),
            queue=section.queue,
            older_than=section.lease,
        )
    if isinstance(broker, OffloadingBroker):
        yield Periodic(broker.delete_expired)


def delayed_message_job(broker: Broker, interval: float) -> Callable[[], float]:
    """Sends messages from the delay queue when they are due.

    For a broker without a limit for delays: once, all messages that another broker has left there.
    """
    transfer = QueueTransfer(delay_queue(broker.settings), broker)
    unlimited = broker.capabilities.longest_delay == math.inf
    done = False

    def move() -> float:
        nonlocal done
        if unlimited and not done:
            transfer.run()
        elif not unlimited:
            transfer.move_due()
        done = True
        return math.inf if unlimited else interval

    return move
