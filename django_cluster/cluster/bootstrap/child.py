"""What every process of a cluster does first and last.

A process is started with its incarnation, the settings and its end of the control pipe, and builds everything else
itself: nothing that it uses was opened before the fork.
"""

from __future__ import annotations

import _signal as plain_signal  # what ``signal`` wraps: it says numbers, and makes no enum of each of them
import faulthandler
import os
import signal
from functools import partial
from multiprocessing.connection import Connection
from typing import IO

from django.db import connections

from django_cluster.cluster.bootstrap.fork_safety import discard_inherited_connections
from django_cluster.cluster.bootstrap.host import die_with_parent, pin_to_cpus, set_title
from django_cluster.cluster.bootstrap.orphan_watchdog import exit_when_orphaned
from django_cluster.cluster.bootstrap.role_mains import ROLE_MAINS
from django_cluster.cluster.bootstrap.sqlite_locks import wait_for_locks
from django_cluster.cluster.bootstrap.task_cleanup import ignore_signal
from django_cluster.cluster.ipc.control_pipe import SENTINEL_SIGNALS, ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole
from django_cluster.cluster.ipc.process_row import ProcessState
from django_cluster.cluster.ipc.words import PID, STATE
from django_cluster.cluster.roles.worker_exit import STACK_SIGNAL, crash_file
from django_cluster.core.events.processes import CPUS_NOT_BOUND
from django_cluster.core.liveness import install_reporter
from django_cluster.core.settings import Settings
from django_cluster.core.sqlite_options import OWN_TIMEOUT, TASK_TIMEOUT
from django_cluster.lifecycle.signal_dispatch import send_signal
from django_cluster.signals import post_spawn

ORPHAN_SECONDS = 10
"""Seconds that a process may live on when its sentinel is dead, to record and return what it holds."""
ERROR_EXIT_CODE = 1
"""The exit code of a process that an exception has ended, the same as that of ``multiprocessing``."""
RUN_USER_CODE = (ProcessRole.WORKER, ProcessRole.NOTIFIER)
"""Roles that may hang in project code: they end immediately when the sentinel dies."""
THREAD_EXIT_SECONDS = 2
"""Seconds for threads that still run when their process has nothing more to do."""


def run_child(incarnation: Incarnation, settings: Settings, pipe: Connection, inherited: tuple[int, ...]) -> None:
    """Run a process of the cluster. ``inherited``: descriptors of other processes that a fork has copied."""
    for descriptor in inherited:
        os.close(descriptor)
    _install_signal_handlers(incarnation)
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
        _limit_exit_wait(ERROR_EXIT_CODE)
        raise
    if control.orphaned and (incarnation.role is ProcessRole.MONITOR or not board.others_alive(incarnation.row)):
        incarnation.runtime_dir.remove()  # the last process; a monitor has waited for the pusher
    board.set(incarnation.row, STATE, ProcessState.STOPPING)
    connections.close_all()
    _limit_exit_wait(0)


def _limit_exit_wait(code: int) -> None:
    """Limit how long the interpreter waits at exit for threads that a task has left running."""
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(code))
    signal.alarm(THREAD_EXIT_SECONDS)


def _install_signal_handlers(incarnation: Incarnation) -> None:
    """Ignore the signals that only the sentinel acts on, when they are sent to the whole process group.

    By a handler, not by SIG_IGN: programs that a task starts would inherit that.
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
        plain_signal.signal(signal.SIGUSR2, _on_sentinel_death)
        die_with_parent(signal.SIGUSR2)
    file = _crash_file(incarnation)
    faulthandler.enable(file)
    if STACK_SIGNAL is not None and incarnation.role in RUN_USER_CODE:
        faulthandler.register(STACK_SIGNAL, file, all_threads=True)  # works while Python code is stuck


def _crash_file(incarnation: Incarnation) -> IO[bytes]:
    """The file for the stack of a crash, open as long as the process lives; the pusher reads it after a crash."""
    return open(crash_file(incarnation.runtime_dir.path, incarnation.number), "wb", buffering=0)


def _on_sentinel_death(_number: int, _frame: object) -> None:
    """The sentinel is dead: finish, but let the kernel end this process if it hangs meanwhile."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(ORPHAN_SECONDS)
