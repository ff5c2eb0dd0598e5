"""Where the lines of the log go when the project has said nothing about it."""

from __future__ import annotations

import logging
from typing import IO, Any

from django_cluster.core.log_records import JsonFormatter
from django_cluster.core.settings import Settings

OWN = "django_cluster"
TASKS = "django_cluster.tasks"
"""The logger with one line for each task that has ended."""
TIME = "%H:%M:%S"
LEVELS = {0: "WARNING", 3: "DEBUG"}
"""``--verbosity`` → the level of our own lines; in between it is that of the settings."""


class LineFormatter(logging.Formatter):
    """One line; those of the project's own loggers say which logger it was."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(process)d] %(levelname)s %(message)s", TIME)
        self._named = logging.Formatter("%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s", TIME)

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record) if _is_ours(record.name) else self._named.format(record)


class ShownElsewhereFilter(logging.Filter):
    """Drops what another handler writes to a stream anyhow, such as Django's console with ``DEBUG``."""

    def __init__(self, own: logging.Handler) -> None:
        super().__init__()
        self._own = own

    def filter(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(_writes(handler, record) for handler in logger.handlers if handler is not self._own):
                return False
            logger = logger.parent if logger.propagate else None
        return True


def configure_logs(settings: Settings, stream: IO[str] | Any = None) -> None:
    """Let log lines be seen in a project that configures no logging. ``stream``: where (default: standard error).

    Where the project has configured nothing at all, its own loggers, and those of libraries, are shown from INFO on.
    Where it has, and our logger has no handler, only our lines get one.
    """
    if settings.log_tasks:
        logging.getLogger(TASKS).setLevel(logging.DEBUG)
    own, root = logging.getLogger(OWN), logging.getLogger()
    if own.hasHandlers():
        return
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else LineFormatter())
    own.setLevel(settings.log_level)
    if not settings.log_root or has_handlers_of_the_project():
        own.addHandler(handler)
        return
    handler.addFilter(ShownElsewhereFilter(handler))
    root.addHandler(handler)
    # Not further down: libraries of servers write what they send at DEBUG, the arguments of tasks among it.
    root.setLevel(max(logging.INFO, own.level))


def level_of(verbosity: int, chosen: str) -> str:
    """The level of our lines. ``chosen`` is that of the settings, which ``--verbosity`` 0 and 3 replace."""
    return LEVELS.get(verbosity, chosen)


def has_handlers_of_the_project() -> bool:
    """Whether a logger that is neither Django's nor ours has a handler that writes."""
    known = logging.getLogger().manager.loggerDict
    loggers = [each for name, each in known.items() if not _is_below(name, "django") and not _is_ours(name)]
    return any(logger.handlers for logger in loggers if isinstance(logger, logging.Logger) and _is_seen(logger))


def _is_seen(logger: logging.Logger) -> bool:
    """Whether the handlers write at all: libraries add a ``NullHandler`` to be silent."""
    return any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers)


def _writes(handler: logging.Handler, record: logging.LogRecord) -> bool:
    seen = isinstance(handler, logging.StreamHandler) and record.levelno >= handler.level
    return seen and bool(handler.filter(record))


def _is_ours(name: str) -> bool:
    return _is_below(name, OWN)


def _is_below(name: str, parent: str) -> bool:
    return name == parent or name.startswith(f"{parent}.")
