"""What every child does first, and the composition root of each role.

A child is started with its seat, the settings and its end of the sentinel's pipe, and builds everything
else itself: nothing that it uses was opened before the fork.
"""

from __future__ import annotations

import _signal as plain_signal  # what ``signal`` wraps: it says numbers, and makes no enum of each of them
import faulthandler
import logging
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
from django_cluster.brokers.claim_check import ClaimCheck
from django_cluster.brokers.limits import waiting_room
from django_cluster.brokers.several import SeveralQueues, servers_of
from django_cluster.cluster.host import die_with_parent, pin, set_title
from django_cluster.cluster.hygiene import PASSED_OVER, Hygiene, pass_over
from django_cluster.cluster.inherited import lay_aside
from django_cluster.cluster.monitor import Monitor
from django_cluster.cluster.notifications import Notifications
from django_cluster.cluster.notifier import Notifier
from django_cluster.cluster.obituary import crash_file
from django_cluster.cluster.orphan_limit import limit_orphanhood
from django_cluster.cluster.pulse import Pulse
from django_cluster.cluster.pusher import Pusher
from django_cluster.cluster.scheduler import NowAndThen, Round, Scheduler
from django_cluster.cluster.scoreboard import PID, STATE, Scoreboard, State
from django_cluster.cluster.seat import Orders, Role, Seat, signature_of
from django_cluster.cluster.settling import Settler
from django_cluster.cluster.sqlite_locks import wait_for_locks
from django_cluster.cluster.until_empty import IdleNote
from django_cluster.cluster.worker import Worker
from django_cluster.core.codec import Codec
from django_cluster.core.functions import REGISTERED
from django_cluster.core.liveness import install_reporter
from django_cluster.core.outage import Outage
from django_cluster.core.sealing import Seal
from django_cluster.core.settings import BrokerSettings, Settings
from django_cluster.core.sqlite_options import OWN_TIMEOUT, TASK_TIMEOUT
from django_cluster.database import ServerClock, close_if_stale
from django_cluster.errors import BrokerError
from django_cluster.lifecycle.announce import announce
from django_cluster.lifecycle.contexts import InitialContext
from django_cluster.lifecycle.declared import discover
from django_cluster.lifecycle.execute import Executor
from django_cluster.lifecycle.moving import Mover
from django_cluster.lifecycle.record import Recorder
from django_cluster.lifecycle.relay import Relay
from django_cluster.lifecycle.reporters import Reporters
from django_cluster.lifecycle.send import Router
from django_cluster.models.schedule import Schedule
from django_cluster.signals import post_spawn
from django_cluster.silence import limit_of, limit_waits
from django_cluster.stores import open_results
from django_cluster.stores.routed import RoutedResults

logger = logging.getLogger("django_cluster")

ORPHAN_LIMIT = 10
"""Seconds that a child may live on when its sentinel is dead, to file and give back what it holds."""
FAILED = 1
"""The exit code of a child that an error has ended, as multiprocessing has it."""
LONGEST_PAUSE = 1.0
"""Seconds of the scheduler's longest sleep: it gives a sign of life before each."""
RUN_USER_CODE = (Role.WORKER, Role.NOTIFIER)
"""They may hang in what they call: they end with the sentinel, at once."""
THREAD_LIMIT = 2
"""Seconds for threads that are still at work when their process has nothing more to do."""


def run_child(seat: Seat, settings: Settings, pipe: Connection, foreign: tuple[int, ...]) -> None:
    """The target of every process of the crew. ``foreign``: descriptors of siblings that a fork copied."""
    for descriptor in foreign:
        os.close(descriptor)
    _take_signals(seat)
    board = seat.folder.open_board()
    board.set(seat.row, PID, os.getpid())
    set_title(f"qcluster {settings.name} {seat.name}")
    if settings.testing and seat.cpus:
        logger.info("%s not bound to CPUs %s: testing is set", seat.name, list(seat.cpus))
    else:
        pin(seat.cpus)
    lay_aside()
    wait_for_locks(TASK_TIMEOUT if seat.role in RUN_USER_CODE else OWN_TIMEOUT)
    orders = Orders(pipe, board, seat.row)
    install_reporter(partial(board.tick, seat.row))
    if seat.role is not Role.WORKER:
        limit_orphanhood(ORPHAN_LIMIT)
    announce(post_spawn, proc_name=seat.name)
    if post_spawn.receivers:
        connections.close_all()  # whatever a receiver has done to a session
    try:
        MAINS[seat.role](seat, settings, board, orders)
    except BaseException:
        _wait_for_threads_a_while(FAILED)
        raise
    if orders.orphaned and (seat.role is Role.MONITOR or not board.others_alive(seat.row)):
        seat.folder.remove()  # the last one out; a monitor has waited for the pusher
    board.set(seat.row, STATE, State.LEAVING)
    connections.close_all()
    _wait_for_threads_a_while(0)


def _wait_for_threads_a_while(code: int) -> None:
    """The interpreter waits for every thread that a task has left behind; a seat cannot wait for ever."""
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(code))
    signal.alarm(THREAD_LIMIT)


def _take_signals(seat: Seat) -> None:
    """Only the sentinel ends a child: TERM and INT that reach the whole group are the sentinel's business.

    Programs that a task starts get the defaults back, because an ignored signal would stay ignored in them.
    """
    signal.set_wakeup_fd(-1)
    for number in PASSED_OVER:
        plain_signal.signal(number, pass_over)
    plain_signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_OVER)  # see start_forkserver
    plain_signal.signal(signal.SIGCHLD, plain_signal.SIG_DFL)
    if seat.own_group:
        os.setpgid(0, 0)
    if seat.role in RUN_USER_CODE:
        die_with_parent(signal.SIGKILL)
    else:
        plain_signal.signal(signal.SIGUSR2, _orphaned)
        die_with_parent(signal.SIGUSR2)
    faulthandler.enable(_crash_file(seat))


def _crash_file(seat: Seat) -> IO[bytes]:
    """Open for as long as the process lives; the pusher reads it when the worker has crashed."""
    return open(crash_file(seat.folder.path, seat.number), "wb", buffering=0)


def _orphaned(_number: int, _frame: object) -> None:
    """The sentinel is dead: finish, but let the kernel end us if we hang over it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(ORPHAN_LIMIT)


# ── the composition root of each role ────────────────────────────────────────────────────────────


def monitor_main(seat: Seat, settings: Settings, board: Scoreboard, orders: Orders) -> None:
    limit_waits(limit_of(max(section.lease for section in settings.sections)))
    # Of several queues, each outcome says from which it came; of one, the rows are told here.
    results = open_results(settings.results, None if settings.shares else settings.queue)
    broker = open_brokers(settings)
    relay = relay_of(settings, results, broker, seat.folder.cluster)
    settler = broker if broker.capabilities.receipts_travel else Settler(seat.folder.jobs)
    recorder = Recorder(results, settler, settings.delivery, relay, shares=settings.shares)

    def look_after() -> None:
        recorder.catch_up()
        results.prune()

    pulse = Pulse(settings, board, seat.folder.cluster) if settings.crew.heartbeat else None
    Monitor(
        seat,
        board,
        orders,
        recorder,
        notifications=Notifications(board, reports=bool(settings.reporters)),
        prune=look_after,
        pulse=pulse,
        servers=servers_of(settings.sections) if settings.shares else (),
    ).run()
    settler.close()


def relay_of(settings: Settings, results: RoutedResults, broker: Broker, cluster: str) -> Relay:
    """What follows goes to the queue that it names; otherwise to that of the root, also where ``broker`` is several.

    A cluster has one monitor at a time: the next one takes over at once what the one before has owed.
    """
    codec = Codec(settings.signing)
    members = broker.members if isinstance(broker, SeveralQueues) else [broker]
    home = next((each for each in members if each.queue == settings.queue), None) or open_broker(settings.broker)
    forward = Router(codec, home, settings.brokers, beside=members, homes=settings.homes).forward
    one_server = not (settings.brokers or settings.homes) and len({each.database for each in (home, *members)}) == 1
    return Relay(results.groups, codec, forward, debtor=cluster, one_server=one_server)


def notifier_main(seat: Seat, settings: Settings, board: Scoreboard, orders: Orders) -> None:
    results = open_results(settings.results, None if settings.shares else settings.queue)
    notifier = Notifier(seat, board, orders, reporters_of(settings, seat.name), results.get, settings.signing.functions)
    os.register_at_fork(after_in_child=notifier.hang_up)
    notifier.run()


def pusher_main(seat: Seat, settings: Settings, board: Scoreboard, orders: Orders) -> None:
    limit_waits(limit_of(max(section.lease for section in settings.sections)))
    broker, codec = open_brokers(settings), codec_for(settings)
    prepare(broker)
    Pusher(seat, board, orders, broker, codec, (settings.broker, settings.crew)).run()


def prepare(broker: Broker) -> None:
    """Once in the life of a pusher; a broker that is away now will be prepared by its successor, or not at all."""
    with suppress(BrokerError):
        broker.prepare()
        for concern in broker.concerns():
            logger.warning("%s", concern)


def worker_main(seat: Seat, settings: Settings, board: Scoreboard, orders: Orders) -> None:
    signing = settings.signing
    name = signature_of(seat.role, seat.index, os.getpid())
    reporters = reporters_of(settings, name)
    executor = Executor(
        codec_for(settings),
        Seal(signing.secret, signing.fallbacks, signing.serializer, settings.results.max_result_size),
        reporters,
        timeout=settings.crew.timeout,
        timeouts=[share.timeout for share in settings.shares],
        worker=name,
        has_succeeded=open_results(settings.results, settings.queue).groups.has_succeeded,
        initial=InitialContext(),
    )
    if REGISTERED in signing.functions:
        discover()  # what is registered must be known before any message is asked what it wants
    hygiene = Hygiene()
    worker = Worker(seat, board, orders, executor, settings.crew, tidy=hygiene, prepare=hygiene.prepare)
    os.register_at_fork(after_in_child=worker.hang_up)
    worker.run()
    reporters.flush()


def codec_for(settings: Settings) -> Codec:
    """The codec of the queue, or of the queues, that this cluster works on."""
    return Codec(settings.signing, settings.queues if settings.shares else ())


def reporters_of(settings: Settings, worker: str) -> Reporters:
    return Reporters(
        settings.reporters,
        queue=", ".join(settings.queues),
        worker=worker,
        delivery=settings.delivery,
        shares=settings.shares,
    )


def scheduler_main(seat: Seat, settings: Settings, board: Scoreboard, orders: Orders) -> None:
    limit_waits(limit_of(max(section.lease for section in settings.sections)))
    rounds = rounds_of(settings)
    idle = IdleNote(board, seat.row)
    board.set(seat.row, STATE, State.IDLE)
    while not orders.leave:
        board.tick(seat.row)
        pause = min(each.go(alone=len(rounds) == 1) for each in rounds)
        if pause > 0 and not any(each.outage.lasts for each in rounds):
            idle.note(idle=True)  # what becomes due later is not waited for
        for connection in connections.all(initialized_only=True):
            close_if_stale(connection)  # not closed each time: connecting would be all that it does
        wait_for([orders.fileno()], min(pause, LONGEST_PAUSE))


def rounds_of(settings: Settings) -> list[Round]:
    """One for each server: while one is away, the queues of the others are looked after."""
    errands: dict[int, list[Callable[[], float]]] = defaultdict(list)
    for server, section in zip(servers_of(settings.sections), settings.sections, strict=True):
        errands[server] += errands_of(section, settings)
    return [Round(each, Outage("The schedule table or the broker")) for each in errands.values()]


def errands_of(section: BrokerSettings, settings: Settings) -> Iterator[Callable[[], float]]:
    """What a scheduler does for one queue; each returns the seconds until it is to be done again."""
    broker = open_broker(section)
    if settings.schedule.enabled:
        sender = Router(Codec(settings.signing), broker, settings.brokers, homes=settings.homes)
        database = settings.results.database or router.db_for_write(Schedule)
        yield Scheduler(
            settings.schedule,
            clock=ServerClock(database),
            queue=section.queue,
            site=section.queue == settings.name,
            send=sender.send_once,
            sent=sender.forget,
            database=database,
            broker_database=broker.database,
        ).tick
    yield held_of(broker, settings.schedule.interval)
    if isinstance(broker, ClaimCheck):
        yield NowAndThen(broker.tidy)


def held_of(broker: Broker, interval: float) -> Callable[[], float]:
    """Sends what this broker could not delay for so long. One that can is given at first what another has left."""
    held = Mover(waiting_room(broker.settings), broker)
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


MAINS: dict[Role, Callable[[Seat, Settings, Scoreboard, Orders], Any]] = {
    Role.MONITOR: monitor_main,
    Role.PUSHER: pusher_main,
    Role.WORKER: worker_main,
    Role.SCHEDULER: scheduler_main,
    Role.NOTIFIER: notifier_main,
}
