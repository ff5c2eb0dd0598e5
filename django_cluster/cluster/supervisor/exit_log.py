"""The log line about a process that has exited."""

from __future__ import annotations

from django_cluster.cluster.ipc.incarnation import ProcessRole, process_name
from django_cluster.cluster.ipc.process_row import Cause, ProcessState, ScoreboardRow
from django_cluster.core.events.processes import (
    PROCESS_ENDED_WITH_CLUSTER,
    PROCESS_EXITED,
    PROCESS_LOST,
    PROCESS_NOT_READY,
    PROCESS_UNRESPONSIVE,
    WORKER_KILLED,
    WORKER_LOST,
)


def log_exit(role: ProcessRole, index: int, row: ScoreboardRow, exit_code: int, silence: float) -> None:
    """``row``: what the process wrote last. ``silence``: seconds since its last heartbeat."""
    name, pid = process_name(role, index), row.pid
    if row.state is ProcessState.STOPPING and exit_code == 0:
        PROCESS_EXITED.log(process_name=name, pid=pid)
        return
    match row.cause:
        case Cause.TIMEOUT:
            what = "a hook or receiver" if role is ProcessRole.NOTIFIER else "its task"
            WORKER_KILLED.log(process_name=name, pid=pid, reason=f"{what} exceeded its time limit")
        case Cause.CANCELLED:
            WORKER_KILLED.log(process_name=name, pid=pid, reason="its task was cancelled, and did not end")
        case Cause.MEMORY:
            WORKER_KILLED.log(process_name=name, pid=pid, reason=f"its task held {row.peak_rss} kB of memory")
        case Cause.UNRESPONSIVE:
            PROCESS_UNRESPONSIVE.log(process_name=name, pid=pid, seconds=silence)
        case Cause.BOOT:
            PROCESS_NOT_READY.log(process_name=name, pid=pid)
        case Cause.SHUTDOWN | Cause.CRASH_LOOP:
            PROCESS_ENDED_WITH_CLUSTER.log(process_name=name, pid=pid)
        case _:
            how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
            event = WORKER_LOST if role in (ProcessRole.WORKER, ProcessRole.NOTIFIER) else PROCESS_LOST
            event.log(process_name=name, pid=pid, reason=how, exit_code=exit_code)
