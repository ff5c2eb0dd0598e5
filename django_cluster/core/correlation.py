"""Which task runs here, and the correlation id: the text that all tasks have in common which one request has caused.

A task that nothing has caused is the first of its kind, and its own id is its correlation id; then nothing has to
travel. The id of any other is in the options of its package.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_cluster.core.messages import TaskHeader

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").match
"""W3C Trace Context: version, trace id, parent id, flags; a later version may append more."""
OPENTELEMETRY = "opentelemetry.trace"
"""The module that knows the current span, where the project has imported it."""

Scope = tuple["TaskHeader | None", int, str | None]
"""The header of the running task (None: no task runs), the number of its run, and a correlation id that was set
besides."""

_scope: ContextVar[Scope | None] = ContextVar("django_cluster_scope", default=None)
_traceparent: ContextVar[str | None] = ContextVar("django_cluster_traceparent", default=None)
"""The ``traceparent`` that was given to ``correlate``."""
running_task = _scope.get
"""The ``Scope`` of the code that calls it; None outside of tasks and ``correlate``."""


def enter_task(header: TaskHeader, attempt: int) -> None:
    """From now on this context is that of a run of this task. The caller has made the context for it."""
    _scope.set((header, attempt, None))


@contextmanager
def task_scope(header: TaskHeader, attempt: int) -> Iterator[None]:
    """The block belongs to a run of this task: its hook, or a receiver of its end."""
    token = _scope.set((header, attempt, None))
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def correlate(correlation_id: str) -> Iterator[str]:
    """Tasks that the block sends, and what it logs, have this correlation id; a ``traceparent`` counts as its trace id.

    ``with correlate(request.headers["X-Request-ID"]): ...``. The value of the block is the id. Raises ``ValueError``
    for an empty text or one of more than 100 characters, ``TypeError`` for what is no text.
    """
    found = checked_correlation_id(correlation_id)
    header, attempt, _ = _scope.get() or (None, 0, None)
    token = _scope.set((header, attempt, found))
    parent = _traceparent.set(correlation_id.strip() if found != correlation_id else None)
    try:
        yield found
    finally:
        _traceparent.reset(parent)
        _scope.reset(token)


def current_traceparent() -> str | None:
    """The W3C ``traceparent`` of the running code, with the trace id that is its correlation id; None if there is none.

    It is that of OpenTelemetry's current span, or else the one that was given to ``correlate``, or else the one with
    which the running task was sent. Tasks that are sent from here carry it.
    """
    return None if (found := current_correlation_id()) is None else traceparent_of(found)


def traceparent_of(correlation_id: str) -> str | None:
    """The whole ``traceparent`` of which this is the trace id, as far as the running code has it."""
    scope = _scope.get()
    sent = None if scope is None or scope[0] is None else scope[0].options.traceparent
    for each in (_traceparent_of_span() if OPENTELEMETRY in sys.modules else None, _traceparent.get(), sent):
        if each is not None and trace_id_of(each) == correlation_id:
            return each
    return None


def current_correlation_id() -> str | None:
    """The correlation id of the running code; None if there is none.

    It is that of ``correlate``, or else of the running task, or else the trace id of OpenTelemetry's current span.
    """
    scope = _scope.get()
    if scope is not None:
        header, _, given = scope
        if given is not None or header is not None:
            return given or correlation_of(header)
    return _id_of_span() if OPENTELEMETRY in sys.modules else None


def correlation_of(header: TaskHeader | None) -> str | None:
    """The correlation id of a task."""
    return None if header is None else header.options.correlation_id or header.id


def checked_correlation_id(value: Any) -> str:
    """The correlation id that is meant by a text: the trace id of a W3C ``traceparent``, any other text as it is.

    Raises ``TypeError`` for what is no text, ``ValueError`` for a text that is empty, has more than 100 characters, or
    cannot be printed.
    """
    if not isinstance(value, str):
        raise TypeError(f"A correlation id is a text, not {value!r}.")
    if (found := trace_id_of(value)) is not None:
        return found
    if not 0 < len(value) <= MAX_LENGTH or not value.isprintable():
        raise ValueError(
            f"A correlation id has 1 to {MAX_LENGTH} printable characters, and this has {len(value)}: {value[:100]!r}."
        )
    return value


MAX_LENGTH = 100


def trace_id_of(traceparent: str) -> str | None:
    """The trace id of a W3C ``traceparent`` header: 32 hexadecimal digits; None if the text is none."""
    found = _TRACEPARENT(traceparent.strip())
    return found[1] if found else None


def _traceparent_of_span() -> str | None:
    """OpenTelemetry's current span as a ``traceparent``; None where no span is recorded."""
    try:
        context = sys.modules[OPENTELEMETRY].get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    except Exception:  # noqa: BLE001  another library's object: a task is sent with it or without
        return None


def _id_of_span() -> str | None:
    """The trace id of OpenTelemetry's current span, as W3C writes it; None where no span is recorded."""
    try:
        context = sys.modules[OPENTELEMETRY].get_current_span().get_span_context()
        return format(context.trace_id, "032x") if context.is_valid else None
    except Exception:  # noqa: BLE001  another library's object: a task is sent with it or without
        return None
