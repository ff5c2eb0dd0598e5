"""Log records say of which task they are, and may be written as JSON.

A task that logs nothing pays nothing: fields are put on a record when a handler gets it. Not by a record factory, which
comes before the ``extra`` of the call, so that ``extra={"task_id": ...}`` in a task would raise ``KeyError``.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from django_cluster.core.correlation import correlation_of, running_task

NO_TASK: dict[str, Any] = {"task_id": "", "task_name": "", "attempt": 0, "correlation_id": ""}
"""The fields of a task, and what they are outside of tasks, so that a text format can name them."""

PLAIN = frozenset({*vars(logging.makeLogRecord({})), "asctime", "color_message", "exc_text", "message", "taskName"})
"""Attributes of a record that are no fields of their own."""


def add_task_fields(record: logging.LogRecord) -> None:
    """Give a record the fields of ``NO_TASK``, with the values of the task that runs here; what it has, it keeps."""
    known = record.__dict__
    if not known.get("correlation_id"):
        found = _current_fields()
        for name, value in found.items():
            known.setdefault(name, value)


def _current_fields() -> dict[str, Any]:
    scope = running_task()
    if scope is None:
        return NO_TASK
    header, attempt, given = scope
    if header is None:
        return {**NO_TASK, "correlation_id": given or ""}
    correlation_id = given or correlation_of(header)
    return {"task_id": header.id, "task_name": header.name, "attempt": attempt, "correlation_id": correlation_id}


class TaskFilter(logging.Filter):
    """A filter for handlers: their records get ``task_id``, ``task_name``, ``attempt`` and ``correlation_id``.

    It drops nothing. Outside of tasks the texts are empty, and ``attempt`` is 0. A record that has a field of one of
    these names (``extra={"task_id": ...}``) keeps its value.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        add_task_fields(record)
        return True


class JsonFormatter(logging.Formatter):
    """Writes each record as one line of JSON: time (UTC), level, logger, message, and all fields of the record.

    Of the fields of the running task those that are empty are left out. A traceback is the field ``traceback``.
    """

    def format(self, record: logging.LogRecord) -> str:
        add_task_fields(record)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": _called(record.getMessage, record.msg),
        }
        for name, value in vars(record).items():
            if name not in PLAIN and (value or name not in NO_TASK):
                line.setdefault(name, value)
        if record.exc_info or record.exc_text:
            line["traceback"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            return json.dumps(line, default=_shown, allow_nan=False)
        except (TypeError, ValueError, RecursionError):  # NaN, a key that is no text, or a list that contains itself
            return json.dumps({name: _shown(value) for name, value in line.items()})


def _shown(value: object) -> str:
    return value if type(value) is str else _called(value.__str__, type(value).__name__)


def _called(write: Any, otherwise: object) -> str:
    """The text of an object; any code may raise in it."""
    try:
        return str(write())
    except Exception as error:  # noqa: BLE001
        return f"{otherwise!s:.1000} ({type(error).__name__} when it was written)"


def install_task_filter() -> None:
    """Let every handler that exists give its records the fields of the running task."""
    named = logging.Logger.manager.loggerDict.values()
    loggers = [logging.getLogger(), *(each for each in named if isinstance(each, logging.Logger))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if not any(isinstance(each, TaskFilter) for each in handler.filters):
            handler.filters.insert(0, TaskFilter())  # before others, which may ask for the fields
