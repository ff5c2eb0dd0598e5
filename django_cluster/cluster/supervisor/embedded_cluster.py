"""A cluster that is started and stopped by another program."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from typing import Any

from django_cluster.cluster.bootstrap.fork_safety import close_before_fork, discard_inherited_connections
from django_cluster.cluster.bootstrap.host import die_with_parent
from django_cluster.cluster.supervisor.sentinel import Sentinel
from django_cluster.core.settings import Settings
from django_cluster.errors import ClusterError


class Cluster:
    """Starts and stops a sentinel in a process of its own::

        with Cluster(load_settings()):
            ...

    ``start`` returns when all processes are ready, ``stop`` when all are gone. The sentinel ends when this
    program does. Before a fork, ``start`` closes the database connections of its thread that are in no
    transaction.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context: Any = multiprocessing.get_context(settings.processes.start_method)
        self._sentinel: BaseProcess | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the sentinel. None before the start and after the stop."""
        return self._sentinel.pid if self._sentinel is not None else None

    @property
    def is_running(self) -> bool:
        return self._sentinel is not None and self._sentinel.is_alive()

    def start(self, patience: float = 60.0) -> int:
        """Returns the pid of the sentinel. Raises ``ClusterError`` if the cluster is not ready in ``patience`` s."""
        if self.is_running:
            raise ClusterError("This cluster runs already.")
        reader, writer = self._context.Pipe(duplex=False)
        if self._settings.processes.start_method == "fork":
            close_before_fork()
        self._sentinel = self._context.Process(target=run_sentinel, args=(self._settings, writer), name="qcluster")
        self._sentinel.start()
        self._at_exit()
        writer.close()
        until = time.monotonic() + patience
        try:
            while not reader.poll(0.1):
                if not self._sentinel.is_alive() or time.monotonic() > until:
                    raise ClusterError("The cluster did not start; its log says why.")
            reader.recv_bytes()
        except (EOFError, ClusterError) as error:
            self.stop()
            raise ClusterError("The cluster did not start; its log says why.") from error
        finally:
            reader.close()
        assert self._sentinel.pid is not None
        return self._sentinel.pid

    def _at_exit(self) -> None:
        """Stop when the program ends, before the hook of multiprocessing, which would wait for the sentinel forever."""
        atexit.register(self.stop)

    def stop(self, patience: float | None = None) -> int | None:
        """Stop gracefully, and after ``patience`` seconds (default: what the settings allow) by SIGKILL.

        Returns the sentinel's exit code, or None when it was not running.
        """
        atexit.unregister(self.stop)
        sentinel, self._sentinel = self._sentinel, None
        if sentinel is None:
            return None
        if patience is None:
            patience = self._settings.processes.shutdown_timeout + 30.0
        if sentinel.is_alive() and sentinel.pid is not None:
            os.kill(sentinel.pid, signal.SIGTERM)
        if not _ended(sentinel, patience):
            sentinel.kill()
            _ended(sentinel, patience)
        code = sentinel.exitcode
        sentinel.close()
        return code

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _ended(process: BaseProcess, patience: float) -> bool:
    """Wait for the end. Without ``join(timeout)``: its pipe stays open while an orphan has a copy."""
    until = time.monotonic() + patience
    while process.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
    return not process.is_alive()


def run_sentinel(settings: Settings, running: Any) -> None:
    """Run a sentinel. Writes one byte to ``running`` when all processes are ready."""
    die_with_parent(signal.SIGTERM)
    discard_inherited_connections()
    # The parent that the kernel knows is then the forkserver, which does not end with the program.
    forkserver = settings.processes.start_method == "forkserver"
    parent = getattr(multiprocessing.parent_process(), "sentinel", None) if forkserver else None
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT])
    sys.exit(Sentinel(settings, lambda: running.send_bytes(b"!"), parent).run())
