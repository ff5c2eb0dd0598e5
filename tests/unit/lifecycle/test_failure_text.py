"""The text of an exception."""

from __future__ import annotations

import asyncio

from django_cluster.lifecycle.failure_text import describe


def test_builtin_exceptions_are_called_by_their_bare_name() -> None:
    assert describe(ValueError("x")).kind == "ValueError"
    assert describe(asyncio.CancelledError()).kind == "asyncio.exceptions.CancelledError"


def test_a_traceback_shows_the_cause() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError as error:
        text = describe(error).traceback

    assert "first" in text
    assert "second" in text
