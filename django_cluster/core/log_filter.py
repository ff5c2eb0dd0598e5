"""Keeps records of this package to one line, and masks credentials in them.

It is a filter of the logger, not a formatter, so that it applies to every handler that a project configures. It changes
the arguments of a record and not its message, by which error services group records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from traceback import TracebackException
from typing import Any

from django_cluster.core.redaction import redactor
from django_cluster.core.safe_text import printable, printable_lines

LOGGERS = ("django_cluster", "django_cluster.tasks")
"""All loggers of the package: a filter applies to one logger, not to those below it."""
MAX_ARGUMENT = 2000
"""Maximum number of characters of one argument."""
HARMLESS = (bool, int, float, type(None))


class SafeRecordFilter(logging.Filter):
    """Escapes and redacts the arguments of a record, the fields of its event, and the messages in its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.args and isinstance(record.args, tuple):
            record.args = tuple(map(safe, record.args))
        elif isinstance(record.args, Mapping) and record.args:
            record.args = {key: safe(value) for key, value in record.args.items()}
            if hasattr(record, "event"):  # the fields of an event are attributes of its record, too
                vars(record).update(record.args)
        else:
            record.msg = shown(str(record.msg))
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            record.exc_text = traceback_of(record.exc_info[1])
        return True


class SafeText(str):
    """Replaces an argument, for ``%s`` and ``%r``."""

    __slots__ = ("_value",)
    _value: Any

    def __repr__(self) -> str:
        return shown(_called(repr, self._value))


def safe(value: Any) -> Any:
    """A safe form of an argument of a log record; numbers and harmless texts are unchanged."""
    if isinstance(value, HARMLESS):
        return value
    text = _called(str, value)
    kept = shown(text)
    if kept is value:
        return value
    stand_in = SafeText(kept)
    stand_in._value = value
    return stand_in


def _called(write: Callable[[Any], str], value: Any) -> str:
    try:
        return write(value)
    except Exception:  # noqa: BLE001  any code may raise
        return f"<{type(value).__name__} that cannot be shown>"


def shown(text: str) -> str:
    return printable(redactor().text(text), MAX_ARGUMENT)


def traceback_of(error: BaseException) -> str:
    """The traceback as ``logging`` formats it, with each message on one line and credentials masked."""
    told = TracebackException.from_exception(error, compact=True)
    _in_one_line(told, set())
    return printable_lines(redactor().traceback("".join(told.format()).rstrip("\n")))


def _in_one_line(told: TracebackException, seen: set[int]) -> None:
    if id(told) in seen:
        return
    seen.add(id(told))
    if isinstance(text := getattr(told, "_str", None), str):
        told._str = shown(text)  # type: ignore[attr-defined]  # it has no public name
    if isinstance(notes := getattr(told, "__notes__", None), list):
        told.__notes__ = ["  " + shown(str(note)) for note in notes]
    for each in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        if each is not None:
            _in_one_line(each, seen)


def install_filter() -> None:
    """Add the filter to the loggers of this package, once."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, SafeRecordFilter) for each in logger.filters):
            logger.addFilter(SafeRecordFilter())
