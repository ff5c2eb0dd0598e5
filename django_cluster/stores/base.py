"""The result port: where finished tasks are written, and read again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from django_cluster.core.messages import Outcome


class ResultStore(ABC):
    """Keeps how tasks ended. One per process; opens its connection when first used."""

    database: str | None = None
    """The Django database alias whose transactions this store writes in, if any."""

    @abstractmethod
    def batch(self) -> AbstractContextManager[Any]:
        """All writes inside are kept together, or none of them."""

    @abstractmethod
    def save(self, outcomes: Sequence[Outcome]) -> None:
        """Write how these runs ended; safe to repeat.

        A success is never overwritten, and the record of a later attempt never by that of an earlier.
        Raises ``StoreUnavailable`` when the server cannot be reached (try again later).
        """

    @abstractmethod
    def finished(self, task_ids: Sequence[str]) -> set[str]:
        """Which of these tasks have succeeded already."""

    def prune(self) -> None:
        """Drop what need not be kept any longer; called now and then."""
