"""Observes each run as cheaply as possible, so that a failure can be explained afterwards.

A run that succeeds pays for one object and one look at the clock. Its log lines and queries are counted where they
happen; everything else is found out only after it has failed.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from resource import RUSAGE_SELF, getrusage
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

from django_cluster.core.post_mortem import HostFacts, PostMortem
from django_cluster.core.redaction import redactor
from django_cluster.errors import TaskTimeout
from django_cluster.lifecycle.frame_variables import frame_variables
from django_cluster.lifecycle.soft_timeout import soft_timeout

MAX_LINES = 100
"""Log lines of a run that are kept, the last ones."""
MAX_LINE = 1000
"""Characters of one of them."""
EXPLAINING_SECONDS = 3.0
"""Seconds that the variables of a failure may take to be written."""

CPU_READ_SECONDS = 0.01
"""Seconds between two readings of the processor time, which take as long as a tiny task. In between, the process is
taken to have used all of it."""

LineSink = Callable[[str], None]


class RunObservation:
    """What has been counted in one run."""

    __slots__ = ("cpu", "lines", "queries", "query_seconds", "started")

    def __init__(self, started: float, cpu: float) -> None:
        """``started``: ``time.monotonic()``. ``cpu``: processor time of this process by then."""
        self.started, self.cpu = started, cpu
        self.queries, self.query_seconds = 0, 0.0
        self.lines: deque[str] | None = None

    def counted(self) -> dict[str, Any]:
        """Fields of the ``PostMortem`` of a run that has ended now."""
        mask = redactor().text
        return {
            "log_lines": tuple(mask(line) for line in self.lines or ()),
            "queries": self.queries,
            "query_seconds": round(self.query_seconds, 6),
            "cpu_seconds": round(max(0.0, time.process_time() - self.cpu), 6),
            "wall_seconds": round(time.monotonic() - self.started, 6),
        }


_observation: ContextVar[RunObservation | None] = ContextVar("django_cluster_observation", default=None)


class RunObserver:
    """Begins an observation with each run, and explains the runs that fail."""

    def __init__(self, environment: HostFacts, *, with_variables: bool = True) -> None:
        """``with_variables``: whether the local variables of the project's frames are kept."""
        self._environment = environment
        self._with_variables = with_variables
        self._cpu = self._cpu_read_at = 0.0

    def begin(self) -> None:
        """Observe the run of the current context."""
        now = time.monotonic()
        if now - self._cpu_read_at > CPU_READ_SECONDS:
            self._cpu, self._cpu_read_at = time.process_time(), now
        _observation.set(RunObservation(now, self._cpu + now - self._cpu_read_at))

    def explain(self, error: BaseException) -> bytes:
        """The packed post-mortem of the run in the current context, which this exception has ended."""
        seen = _observation.get()
        counted: dict[str, Any] = {} if seen is None else seen.counted()  # unknown is not zero
        return PostMortem(
            **counted,
            frames=self._frames(error),
            peak_memory_kb=getrusage(RUSAGE_SELF).ru_maxrss,
            host=self._environment.host,
            versions=self._environment.versions,
            revision=self._environment.revision,
        ).packed()

    def _frames(self, error: BaseException) -> Any:
        if not self._with_variables:
            return ()
        try:
            with soft_timeout(EXPLAINING_SECONDS):
                return frame_variables(error)
        except (Exception, TaskTimeout):  # noqa: BLE001  the failure itself is what must be recorded
            return ()


# ── what is counted while tasks run ──────────────────────────────────────────────────────────────


class RunLogHandler(logging.Handler):
    """Keeps the last lines of each run. It writes nothing by itself, and changes no other handler."""

    def __init__(self, sink: LineSink | None = None) -> None:
        """``sink``: also gets each line, such as a memory that outlives this process."""
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        seen = _observation.get()
        if seen is not None:
            with suppress(Exception):  # the arguments of a record may be wrong; other handlers say so
                line = line_of(record)
                if seen.lines is None:
                    seen.lines = deque(maxlen=MAX_LINES)
                seen.lines.append(line)
                if self._sink is not None:
                    self._sink(line)
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and self._is_alone(record):
            last.handle(record)  # as if there were no handler at all

    def _is_alone(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(each is not self for each in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


def line_of(record: logging.LogRecord) -> str:
    """Time (UTC), level, logger and message of a record."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%H:%M:%S.%f} {record.levelname} {record.name}: {record.getMessage()}"[:MAX_LINE]


def install_run_log(sink: LineSink | None = None) -> RunLogHandler:
    """Add the handler to the root, and to every logger that passes nothing on."""
    handler = RunLogHandler(sink)
    named = logging.Logger.manager.loggerDict.values()
    loggers = [each for each in named if isinstance(each, logging.Logger) and not each.propagate and each.handlers]
    for logger in (logging.getLogger(), *loggers):
        logger.addHandler(handler)
    return handler


def count_queries() -> None:
    """Count the queries of all connections of this process, present and future ones."""
    connection_created.connect(_count_on)
    for connection in connections.all(initialized_only=True):
        _count_on(connection=connection)


def _count_on(connection: Any, **_: Any) -> None:
    if _counted not in connection.execute_wrappers:
        # In front: ``execute_wrapper`` takes off the last one at the end of its block, which must be its own.
        connection.execute_wrappers.insert(0, _counted)


def _counted(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    seen = _observation.get()
    if seen is None:
        return execute(sql, params, many, context)
    began = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        seen.queries += 1
        seen.query_seconds += time.perf_counter() - began
