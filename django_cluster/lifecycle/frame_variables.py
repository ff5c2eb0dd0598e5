"""The local variables of the project's own frames in a traceback: masked, bounded, and without a query."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType
from typing import Any

from django.db import connections
from django.db.models import Manager, QuerySet
from django.views.debug import get_exception_reporter_filter

from django_cluster.core.fingerprints import is_library
from django_cluster.core.masking import MASK
from django_cluster.core.post_mortem import FrameVariables
from django_cluster.core.redaction import Redactor, redactor

MAX_FRAMES = 10
MAX_CAUSES = 5
"""Exceptions of a chain that are looked at: a time limit has its cause where the code was."""
MAX_VARIABLES = 30
"""Variables of one frame that are shown."""
MAX_VALUE = 400
"""Characters of one value."""
MAX_ALL = 30_000
"""Characters of all values together."""
UNSHOWABLE = "(cannot be shown: {})"


class QueriesRefused(Exception):
    """A value asks the database when it is written: that is no part of what failed."""


def frame_variables(error: BaseException) -> tuple[FrameVariables, ...]:
    """The last frames of the project's own code in the traceback of an exception, the innermost last."""
    found = project_frames(error)
    reporter_filter: Any = get_exception_reporter_filter(None)
    reporter_filter.is_active = lambda request: True  # with DEBUG, too: what is shown is kept
    room = MAX_ALL
    frames: list[FrameVariables] = []
    with ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            stack.enter_context(connection.execute_wrapper(_refuse))
        for frame, line in reversed(found[-MAX_FRAMES:]):  # the innermost has the first claim to the room
            pairs = []
            # The variables of a module are its functions and classes.
            for name, text in _variables(reporter_filter, frame) if frame.f_code.co_name != "<module>" else ():
                room -= len(text)
                if room < 0:
                    break
                pairs.append((name, text))
            code = frame.f_code
            frames.append(
                FrameVariables(path=code.co_filename, line=line, function=code.co_qualname, variables=tuple(pairs))
            )
    return tuple(reversed(frames))


def project_frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """Frames and lines of the project's code: of the exception, or else of the nearest of its causes that has any."""
    current: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if current is None:
            break
        frames = traceback.walk_tb(current.__traceback__)
        if found := [each for each in frames if not is_library(each[0].f_code.co_filename)]:
            return found
        current = current.__cause__ or current.__context__
    return []


def _refuse(*_: Any) -> None:
    raise QueriesRefused("it would ask the database")


def _variables(reporter_filter: Any, frame: FrameType) -> Iterator[tuple[str, str]]:
    try:
        variables = list(reporter_filter.get_traceback_frame_variables(None, frame))
    except Exception as error:  # noqa: BLE001  a filter is code of the project: rather too little is shown
        yield "*", UNSHOWABLE.format(type(error).__name__)
        return
    rules = redactor()
    for name, value in variables[:MAX_VARIABLES]:
        yield name, MASK if value is reporter_filter.cleansed_substitute else _text(rules, name, value)


def _text(rules: Redactor, name: str, value: object) -> str:
    try:
        if rules.hides(name, value):
            return MASK
        if isinstance(value, QuerySet) and value._result_cache is None:
            return f"<{type(value).__name__} of {value.model._meta.label}, not evaluated>"
        if isinstance(value, Manager):
            return f"<{type(value).__name__} of {value.model._meta.label}>"
        text = repr(rules.value(value, name))
    except Exception as error:  # noqa: BLE001  __repr__ is code of the project
        return UNSHOWABLE.format(type(error).__name__)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"
