"""The text of an exception, as rows and pages show it."""

from __future__ import annotations

import traceback

from django_cluster.core.messages import FailureDetails, path_of_class

MAX_TEXT_LENGTH = 64_000
"""Characters kept of a message or traceback: its beginning and its end."""


def describe(error: BaseException, *, with_traceback: bool = True) -> FailureDetails:
    """The text of an exception, even of one whose own methods raise."""
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001  __str__ is user code, and may even exit
        message = "(the message of this exception cannot be shown)"
    text = ""
    if with_traceback:
        try:
            text = "".join(traceback.format_exception(error))
        except BaseException:  # noqa: BLE001  so is __repr__ of what a traceback shows
            text = "(the traceback of this exception cannot be shown)"
    return FailureDetails(path_of_class(type(error)), _cut(message), _cut(text))


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT_LENGTH:
        return text
    half = MAX_TEXT_LENGTH // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
