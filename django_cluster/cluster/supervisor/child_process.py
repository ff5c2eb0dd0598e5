"""One child of the sentinel, and the slot that it fills."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole, process_name
from django_cluster.cluster.roles.worker_exit import STACK_SIGNAL

STACK_SECONDS = 0.1
"""Seconds for which the sentinel waits for a stack at most, when it kills a worker."""


@dataclass(eq=False)
class ChildProcess:
    """A process that was started and whose exit has not been handled yet."""

    incarnation: Incarnation
    process: BaseProcess
    pipe: Connection
    """The sentinel's end of its control pipe."""
    started: float
    """Monotonic time."""
    stop_requested: bool = False
    cancelled_job: int = 0
    """Number of the last job for which it was interrupted."""
    sentinel_unreliable: bool = False
    """Whether the descriptor that should tell its exit is readable although it lives: a task has closed everything."""

    @property
    def exit_code(self) -> int | None:
        """None while it lives; -n = killed by signal n."""
        return self.process.exitcode

    def wake(self) -> None:
        """Let it read its command on the scoreboard now."""
        with suppress(OSError):
            os.write(self.pipe.fileno(), b"!")

    def interrupt(self) -> None:
        """Let it look whether its task is cancelled. By default a process ignores this signal."""
        if self.process.pid is not None and self.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGURG)

    def write_stack(self, file: str) -> None:
        """Let it write the stacks of its threads into its crash file, and wait for a moment: then it is killed."""
        pid = self.process.pid
        if STACK_SIGNAL is None or pid is None:
            return
        until = time.monotonic() + STACK_SECONDS
        with suppress(OSError):
            os.kill(pid, STACK_SIGNAL)
            while time.monotonic() < until and not os.stat(file).st_size:
                time.sleep(STACK_SECONDS / 20)
            time.sleep(STACK_SECONDS / 20)  # for the lines after the first

    def kill(self) -> None:
        """SIGKILL, to what its tasks have started as well."""
        self.kill_group()
        self.process.kill()

    def kill_group(self) -> None:
        """SIGKILL to the process group that it leads, if it does."""
        pid = self.process.pid
        if self.incarnation.own_group and pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def close(self) -> None:
        """Free the resources of a child that has exited."""
        self.process.close()
        self.pipe.close()


@dataclass(eq=False)
class Slot:
    """A place for a child, which is started again whenever it exits."""

    role: ProcessRole
    index: int
    """Which slot of its role, from 0."""
    child: ChildProcess | None = None
    starts: int = 0
    """How many children it has had."""
    early_exits: int = 0
    """How many of the last children in a row exited within ``EARLY_EXIT_SECONDS``."""
    failed_boots: int = 0
    """How many of the last children in a row exited before they were ready."""
    restart_at: float = 0.0
    """Monotonic time before which no child is started."""
    removed: bool = False
    """Whether it is deleted when its child exits."""

    @property
    def name(self) -> str:
        return process_name(self.role, self.index)
