"""Pause the server of the broker or processes of the cluster, by signals or by commands of the user.

A separate shell process executes pause and resume, so that the server is resumed even if the run is killed.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from django_cluster.errors import ClusterError
from django_cluster.testing.chaos.processes import process_info, process_tree

SCRIPT = "trap '' INT TERM HUP; {pause}; sleep {seconds:.3f}; {resume}"


@dataclass(frozen=True, slots=True)
class Pausing:
    """How the server of the broker is paused and resumed."""

    pid: int | None = None
    """Pid of the server; the signals go to it and to all of its descendants."""
    pause_command: str = ""
    resume_command: str = ""

    def check(self) -> None:
        """Raise ``ClusterError`` if the options contradict each other or the process does not exist."""
        if bool(self.pause_command) != bool(self.resume_command):
            raise ClusterError("A command that pauses and one that resumes belong together; one of them is missing.")
        if self.pid is not None and self.pause_command:
            raise ClusterError("Pause the server either by its process id or by commands.")
        if self.pid is not None and process_info(self.pid) is None:
            raise ClusterError(f"There is no process {self.pid} to be paused.")

    @property
    def possible(self) -> bool:
        return self.pid is not None or bool(self.pause_command)

    def pause_for(self, seconds: float) -> subprocess.Popen[bytes]:
        """Pause now and resume after ``seconds``; returns the process that does so immediately."""
        if self.pid is not None:
            return freeze(process_tree(self.pid), seconds)
        return _hold(self.pause_command, self.resume_command, seconds)


def freeze(pids: Sequence[int], seconds: float) -> subprocess.Popen[bytes]:
    """Send SIGSTOP to these processes now and SIGCONT after ``seconds``; returns immediately.

    The processes are stopped when the function returns.
    """
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    return _hold(":", f"kill -CONT {shlex.join(map(str, pids))}", seconds)


def _hold(pause: str, resume: str, seconds: float) -> subprocess.Popen[bytes]:
    script = SCRIPT.format(pause=pause, seconds=seconds, resume=resume)
    return subprocess.Popen(  # noqa: S603  the commands are the user's own
        ["/bin/sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
