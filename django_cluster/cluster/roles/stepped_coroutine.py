"""A coroutine that says on the scoreboard when it is executed.

If a step never ends, the sentinel kills the process, and the pusher reads whose step it was. The thread that watches
the loop could not tell where the step is in C code that holds the GIL.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from django_cluster.cluster.ipc.scoreboard import Scoreboard


class SteppedCoroutine:
    """Awaits as the coroutine does."""

    __slots__ = ("_board", "_coroutine", "_number", "_row")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], board: Scoreboard, row: int, number: int) -> None:
        """``number``: that of its job."""
        self._coroutine, self._board, self._row, self._number = coroutine, board, row, number

    def __await__(self) -> SteppedCoroutine:
        return self

    def __iter__(self) -> SteppedCoroutine:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Execute the coroutine up to its next wait."""
        self._board.set_step(self._row, self._number, time.monotonic())
        try:
            return self._coroutine.send(value)
        finally:
            self._board.set_step(self._row, 0, 0.0)

    def throw(self, *error: Any) -> Any:
        """Raise an exception in the coroutine, and execute it up to its next wait."""
        self._board.set_step(self._row, self._number, time.monotonic())
        try:
            return self._coroutine.throw(*error)
        finally:
            self._board.set_step(self._row, 0, 0.0)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()
