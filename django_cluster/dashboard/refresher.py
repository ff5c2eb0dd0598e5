"""The thread that refreshes the snapshot and executes actions, so that no server can block the screen."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from django.db import connections

from django_cluster.core.redaction import redactor
from django_cluster.dashboard.collector import Collector
from django_cluster.dashboard.snapshot import Detail, Snapshot
from django_cluster.dashboard.state import OperatorAction
from django_cluster.database.connection import close_if_stale
from django_cluster.errors import ClusterError

MIN_INTERVAL_SECONDS = 0.25
"""Shortest time between two refreshes, in seconds."""

Controls = Mapping[str, Callable[..., str]]
"""Verb of an action → function that executes it and returns its result as a sentence; may raise ``ClusterError``."""


class Refresher(threading.Thread):
    """Refreshes the visible parts of the snapshot every ``interval`` seconds; its attributes are frozen values."""

    def __init__(self, collector: Collector, interval: float, controls: Controls) -> None:
        super().__init__(name="refresher", daemon=True)
        self._collector, self._interval, self._controls = collector, interval, controls
        self._requests: deque[OperatorAction | str] = deque()
        self._wake, self._stopping = threading.Event(), False
        self._shown: tuple[tuple[str, ...], str] = (("clusters",), "")
        self.snapshot = Snapshot(label=collector.label)
        self.detail: Detail | None = None
        self.messages: deque[str] = deque(maxlen=1)
        """The result of the last action, or the last error; the screen removes it."""

    def show(self, parts: tuple[str, ...], query: str = "") -> None:
        """Refresh these parts for this filter from now on; immediately if they have changed."""
        if (parts, query) != self._shown:
            self._shown = (parts, query)
            self._wake.set()

    def refresh(self) -> None:
        self._wake.set()

    def open(self, task_id: str) -> None:
        """Fetch the details of a task into ``detail``."""
        self.detail = None
        self._request(task_id)

    def act(self, action: OperatorAction) -> None:
        self._request(action)

    def stop(self, patience: float = 1.0) -> None:
        """Stop the thread, waiting for at most ``patience`` seconds."""
        self._stopping = True
        self._wake.set()
        self.join(patience)

    def _request(self, request: OperatorAction | str) -> None:
        self._requests.append(request)
        self._wake.set()

    def run(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                self._turn()
                if not self._wake.wait(self._interval):
                    continue
                time.sleep(MIN_INTERVAL_SECONDS)
        finally:
            self._collector.close()
            connections.close_all()

    def _turn(self) -> None:
        while self._requests:
            request = self._requests.popleft()
            self._guarded(
                partial(self._do, request) if isinstance(request, OperatorAction) else partial(self._fetch, request)
            )
        self._guarded(self._look, report=not self.messages)  # the result of an action takes precedence

    def _look(self) -> None:
        for connection in connections.all(initialized_only=True):
            close_if_stale(connection)
        parts, query = self._shown
        self.snapshot = self._collector.collect(parts, self.snapshot, query)

    def _guarded(self, work: Callable[[], None], *, report: bool = True) -> None:
        """Show an error as a problem, and as a message if ``report``."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  a dashboard survives errors of servers
            problem = redactor().text(str(error)) or type(error).__name__
            self.snapshot = replace(self.snapshot, problems=(problem,))
            if report:
                self.messages.append(problem)

    def _fetch(self, task_id: str) -> None:
        found = self._collector.detail(task_id)
        self.detail = found or Detail(title="", facts=(("Task", "Its row is gone."),))

    def _do(self, action: OperatorAction) -> None:
        try:
            self.messages.append(self._controls[action.verb](*action.target))
        except ClusterError as error:
            self.messages.append(redactor().text(str(error)))
