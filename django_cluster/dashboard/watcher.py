"""The thread that looks and acts, so that no server can freeze the screen."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from django.db import connections

from django_cluster.core.redaction import redactor
from django_cluster.dashboard.eye import Eye
from django_cluster.dashboard.snapshot import Detail, Snapshot
from django_cluster.dashboard.view import Act
from django_cluster.database import close_if_stale
from django_cluster.errors import ClusterError

SHORTEST = 0.25
"""Seconds between two looks, however often somebody asks."""

Controls = Mapping[str, Callable[..., str]]
"""Verb → what does it, and says in a sentence what came of it; may raise ``ClusterError``."""


class Watcher(threading.Thread):
    """Looks every ``interval`` seconds at what is shown. The screen reads its attributes, which are frozen values."""

    def __init__(self, eye: Eye, interval: float, controls: Controls) -> None:
        super().__init__(name="watcher", daemon=True)
        self._eye, self._interval, self._controls = eye, interval, controls
        self._wishes: deque[Act | str] = deque()
        self._wake, self._stopping = threading.Event(), False
        self._shown: tuple[tuple[str, ...], str] = (("clusters",), "")
        self.snapshot = Snapshot(label=eye.label)
        self.detail: Detail | None = None
        self.said: deque[str] = deque(maxlen=1)
        """What came of the last act, or why nothing can be seen; the screen takes it out."""

    def show(self, parts: tuple[str, ...], query: str = "") -> None:
        """From now on, look at these, for what matches the query; immediately if they are others."""
        if (parts, query) != self._shown:
            self._shown = (parts, query)
            self._wake.set()

    def refresh(self) -> None:
        self._wake.set()

    def open(self, task_id: str) -> None:
        """Have this task's details fetched into ``detail``."""
        self.detail = None
        self._wish(task_id)

    def act(self, act: Act) -> None:
        self._wish(act)

    def stop(self, patience: float = 1.0) -> None:
        """A server that hangs is not waited for any longer than this."""
        self._stopping = True
        self._wake.set()
        self.join(patience)

    def _wish(self, wish: Act | str) -> None:
        self._wishes.append(wish)
        self._wake.set()

    def run(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                self._turn()
                if not self._wake.wait(self._interval):
                    continue
                time.sleep(SHORTEST)
        finally:
            self._eye.close()
            connections.close_all()

    def _turn(self) -> None:
        while self._wishes:
            wish = self._wishes.popleft()
            self._guarded(partial(self._do, wish) if isinstance(wish, Act) else partial(self._fetch, wish))
        self._guarded(self._look, aloud=not self.said)  # what came of an act goes before

    def _look(self) -> None:
        for connection in connections.all(initialized_only=True):
            close_if_stale(connection)
        parts, query = self._shown
        self.snapshot = self._eye.look(parts, self.snapshot, query)

    def _guarded(self, work: Callable[[], None], *, aloud: bool = True) -> None:
        """Whatever goes wrong is shown, and said if ``aloud``; it is tried again with the next turn."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  a dashboard outlives what it shows
            problem = redactor().text(str(error)) or type(error).__name__
            self.snapshot = replace(self.snapshot, problems=(problem,))
            if aloud:
                self.said.append(problem)

    def _fetch(self, task_id: str) -> None:
        found = self._eye.detail(task_id)
        self.detail = found or Detail(title="", facts=(("Task", "Its row is gone."),))

    def _do(self, act: Act) -> None:
        try:
            self.said.append(self._controls[act.verb](*act.target))
        except ClusterError as error:
            self.said.append(redactor().text(str(error)))
