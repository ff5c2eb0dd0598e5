"""Django-Q's ``Cluster`` and ``Sentinel``, which take no settings."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from django_cluster.cluster.bootstrap.logs import configure_logs
from django_cluster.cluster.supervisor.embedded_cluster import Cluster as BaseCluster
from django_cluster.conf import load_settings
from django_cluster.core.task_ids import humanize
from django_cluster.django_q.shim.brokers import Broker
from django_cluster.django_q.status import STARTING, STOPPING, Stat, Status
from django_cluster.errors import ClusterError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
POLL_SECONDS = 0.1


class SentinelProcess:
    """The process of a sentinel, also after it has ended."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid
        self.name: str = process.name
        self.exitcode: int | None = None
        """None while it runs."""

    def is_alive(self) -> bool:
        with suppress(ValueError):  # it was closed
            if self._process.is_alive():
                return True
            self.exitcode = self._process.exitcode
        return False

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most for ``timeout`` seconds."""
        with suppress(ValueError):
            self._process.join(timeout)


class ClusterNotStarted(ClusterError, RuntimeError):
    """The cluster did not start. A ``RuntimeError``, as in Django-Q."""


class Cluster(BaseCluster):
    """The cluster that the settings describe. ``broker`` may name another queue, by ``get_broker("name")``.

    ``start`` takes over SIGTERM and SIGINT, which stop the cluster, and then do what the program had set for them. The
    program does not end before the cluster does.
    """

    def __init__(self, broker: Broker | None = None) -> None:
        super().__init__(load_settings(broker.list_key if broker is not None else None))
        self.broker = broker
        self.sentinel: SentinelProcess | None = None
        """The process of the sentinel; None before the start."""
        self._before: dict[int, Any] = {}
        """Signal → its handler before the start."""
        self._is_booting = self._stop_wanted = False
        self._owner = os.getpid()

    def start(self, patience: float = 60.0) -> int:
        """Returns the process id of the sentinel when all processes are ready, or after a signal has stopped it.

        Raises ``ClusterNotStarted`` if the cluster is not ready in ``patience`` seconds.
        """
        configure_logs(self._settings)
        self._take_signals()
        self._is_booting = True
        try:
            pid = super().start(patience)
        except ClusterError as error:
            self._return_signals()
            raise ClusterNotStarted(str(error)) from error
        finally:
            self._is_booting = False
        self.sentinel = SentinelProcess(self._sentinel)
        if self._stop_wanted:
            self.stop()
        return pid

    def _at_exit(self) -> None:
        """Do nothing: multiprocessing waits for the sentinel, as in Django-Q."""

    def stop(self, patience: float | None = None) -> bool:
        """Stop gracefully. Returns whether the cluster was running."""
        if not self.is_running:
            return False
        code = super().stop(patience)
        if self.sentinel is not None:
            self.sentinel.exitcode = code
        self._return_signals()
        return True

    def _take_signals(self) -> None:
        if threading.current_thread() is threading.main_thread() and not self._before:
            self._before = {number: signal.signal(number, self.sig_handler) for number in STOP_SIGNALS}

    def _return_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        before, self._before = self._before, {}
        for number, handler in before.items():
            if signal.getsignal(number) == self.sig_handler:
                signal.signal(number, handler)

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        """Stop the cluster, and call the handler that the program had before, but for Python's own."""
        before = self._before.get(signum)
        if self._is_booting or os.getpid() != self._owner:
            self._stop_wanted = True
            return
        self.stop()
        if callable(before) and before is not signal.default_int_handler:
            before(signum, frame)

    @property
    def host(self) -> str:
        return socket.gethostname()

    @property
    def stat(self) -> Status:
        """What the cluster says of itself; a stopped ``Status`` without an id before it has said anything."""
        mine = (each for each in Stat.get_all() if (each.pid, each.host) == (self.pid, self.host))
        return next(mine, Status(self.pid or 0, ""))

    @property
    def cluster_id(self) -> str:
        """Is given when it is started; empty before."""
        return self.stat.cluster_id

    @property
    def name(self) -> str:
        """Four words for the id."""
        known = self.cluster_id
        return humanize(known) if known else ""

    @property
    def is_starting(self) -> bool:
        return self.stat.status == STARTING

    @property
    def is_stopping(self) -> bool:
        return self.stat.status == STOPPING

    @property
    def has_stopped(self) -> bool:
        return not self.is_running


class Sentinel:
    """Runs a cluster until ``stop_event`` is set; its processes are those of ``Cluster``.

    Django-Q runs it in a process of its own, with two events of ``multiprocessing`` or ``threading``.
    """

    def __init__(
        self,
        stop_event: Any,
        start_event: Any,
        cluster_id: Any = None,
        broker: Broker | None = None,
        timeout: int | None = None,
        start: bool = True,
    ) -> None:
        """``cluster_id`` and ``timeout`` are not looked at. With ``start`` it returns when the cluster has stopped."""
        self.stop_event, self.start_event = stop_event, start_event
        self.cluster = Cluster(broker)
        self.broker = broker
        if start:
            self.start()

    def start(self) -> None:
        """Start the cluster, set ``start_event``, and stop the cluster when ``stop_event`` is set."""
        self.cluster.start()
        try:
            self.start_event.set()
            while self.cluster.is_running and not self.stop_event.wait(POLL_SECONDS):
                pass
        finally:
            self.cluster.stop()

    def status(self) -> str:
        """The word of Django-Q for what the cluster does."""
        return self.cluster.stat.status
