"""``qcluster --reload`` and ``--with-runserver``: a cluster that is started anew when a file has changed.

The cluster is a process of its own, because a module that was imported once stays as it was. This process only watches
files, passes signals on, and waits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from django.utils import autoreload

from django_cluster.cluster.bootstrap.host import die_with_parent
from django_cluster.cluster.supervisor.sentinel import HANDLED_SIGNALS, STOP_SIGNALS, ExitCode
from django_cluster.core.events.cluster import FILE_CHANGED, RUNSERVER_ENDED, WAITING_FOR_CHANGE
from django_cluster.management.source_watcher import SourceWatcher

RELOADED = "DJANGO_CLUSTER_RELOADED"
"""The environment variable by which the cluster knows that another process restarts it."""
PASSED_SIGNALS = tuple(each for each in HANDLED_SIGNALS if each != signal.SIGCHLD)
MENDED_BY_A_CHANGE = (ExitCode.CANNOT_START, ExitCode.CRASH_LOOP)
"""Exit codes after which a changed file may help: an import error, wrong settings."""


class DevelopmentCluster:
    """A cluster that restarts with each changed file, and perhaps Django's development server beside it."""

    def __init__(self, command: Sequence[str], watcher: SourceWatcher, runserver: Sequence[str] | None = None) -> None:
        """``command``: starts the cluster. ``runserver``: starts the server; None: there is none."""
        self._command = command
        self._watcher = watcher
        self._runserver = runserver
        self._stopping = False
        self._cluster: subprocess.Popen[bytes] | None = None
        self._asked_to_stop: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run until the cluster or the server ends, or a signal stops both; return the exit code of what ended."""
        with self._signals_passed_on():
            server = None if self._runserver is None else start(self._runserver, own_group=False)
            try:
                self._cluster = self._start_cluster()
                code = self._watch(server)
            finally:
                stopped_with = self._stop_cluster()
                if server is not None:
                    server.terminate()
                    server.wait()
        return stopped_with if code is None else code

    def _watch(self, server: subprocess.Popen[bytes] | None) -> int | None:
        """Restart the cluster with each change. None: a signal stops it; otherwise the exit code of what ended."""
        waiting = False
        while not self._stopping:
            changed = self._watcher.look()
            if server is not None and (code := server.poll()) is not None:
                if not self._stopping:
                    RUNSERVER_ENDED.log(exit_code=code)
                return exit_code(code)
            code = None if self._cluster is None else self._cluster.poll()
            if code is not None and not waiting:
                if code not in MENDED_BY_A_CHANGE:
                    return exit_code(code)
                waiting = True
                WAITING_FOR_CHANGE.log(exit_code=code)
                self._watcher.new_files()
            elif waiting:
                changed += self._watcher.new_files()
            if changed and not self._stopping:
                self._restart(changed)
                waiting = False
        return None

    def _restart(self, changed: Sequence[Path]) -> None:
        FILE_CHANGED.log(path=str(changed[0]))
        self._stop_cluster()
        if not self._stopping:
            self._cluster = self._start_cluster()

    def _start_cluster(self) -> subprocess.Popen[bytes]:
        """In a process group of its own: Ctrl-C of a terminal would stop it twice, which means: immediately."""
        return start(self._command, own_group=True, environment={**os.environ, RELOADED: "1"})

    def _stop_cluster(self) -> int:
        """Let running tasks finish; return the exit code."""
        cluster = self._cluster
        if cluster is None:
            return ExitCode.GRACEFUL
        if cluster.poll() is None and self._asked_to_stop is not cluster:
            cluster.terminate()
        code = exit_code(cluster.wait())
        return ExitCode.GRACEFUL if code in MENDED_BY_A_CHANGE else code

    # ── signals ──────────────────────────────────────────────────────────────────────────────────

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in STOP_SIGNALS:
            self._stopping = True
            self._asked_to_stop = self._cluster
        if self._cluster is not None and self._cluster.returncode is None:
            self._cluster.send_signal(number)

    @contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in PASSED_SIGNALS}
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)


def start(
    command: Sequence[str], *, own_group: bool, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that is asked to stop when this process dies, however it dies."""
    return subprocess.Popen(  # noqa: S603  the command line of this program
        command,
        env=environment,
        process_group=0 if own_group else None,
        preexec_fn=partial(die_with_parent, signal.SIGTERM),
    )


def exit_code(code: int) -> int:
    """The exit code of a program, as a shell counts one that a signal has killed."""
    return code if code >= 0 else 128 - code


def own_command() -> list[str]:
    """The command by which this program was started."""
    return [str(each) for each in autoreload.get_child_arguments()]


def runserver_command(address: str, pythonpath: str | None) -> list[str]:
    """The command of Django's development server for the project of this program. ``address``: empty = its default."""
    manage = own_command()[: -len(sys.argv[1:])]
    path = ["--pythonpath", pythonpath] if pythonpath else []
    return [*manage, "runserver", *([address] if address else []), *path]
