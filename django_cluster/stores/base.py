"""The result port: where finished tasks are written, and read again."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Final, Literal, TypeVar

from django_cluster.core.compositions import NextSteps, Step
from django_cluster.core.messages import Outcome, TaskHeader
from django_cluster.models import GroupMember, Task

Value = TypeVar("Value")


class Unfinished(Enum):
    """Not a value: what a reader returns while there is nothing to read (a task may well return None)."""

    UNFINISHED = "unfinished"


UNFINISHED: Final = Unfinished.UNFINISHED

FIRST_PAUSE_SECONDS = 0.001
MAX_PAUSE_SECONDS = 0.020


class GroupStore(ABC):
    """Records which members of compositions have ended, and what follows."""

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def create(self, group_id: str, total: int, on_success: str, on_failure: str) -> None:
        """Create a group of ``total`` members before the first of them is sent, in the caller's transaction.

        ``on_success``, ``on_failure``: the signed packages that follow; empty for none. Raises ``ValueError`` if the
        group exists, and ``StoreUnavailable``.
        """

    # ── recording ────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def record_ends(self, outcomes: Sequence[Outcome], *, claimed_by: str | None) -> NextSteps:
        """Record that members have ended; returns what is to be sent, also what was claimed before and not sent.

        Call it in the transaction that saves the outcomes. The steps remain claimed by ``claimed_by`` until
        ``mark_sent``; with None, they are sent in the same transaction.
        """

    @abstractmethod
    def mark_sent(self, steps: Sequence[Step]) -> None:
        """Record that these steps have been sent."""

    @abstractmethod
    def claim_overdue(self, claimed_by: str) -> list[Step]:
        """Claim the steps whose recorder has not sent them in time; returns them, to be sent by the caller.

        Raises ``StoreUnavailable``.
        """

    @abstractmethod
    def forget(self, group_id: str) -> None:
        """Delete what is recorded of a composition; what follows it is never sent."""

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def has_succeeded(self, header: TaskHeader) -> bool:
        """Whether this task has succeeded at its place in a composition; False where that is not known."""

    @abstractmethod
    def ended(self, group_id: str) -> int:
        """How many calls of a group have ended for good; 0 for an id that is no group."""

    @abstractmethod
    def members(self, of: str) -> list[GroupMember]:
        """The members of a composition that have ended, by position; without the task that collects them."""


class ResultStore(ABC):
    """Keeps how tasks ended. One per process; opens its connection when first used."""

    database: str | None = None
    """The Django database alias whose transactions this store writes in, if any."""

    groups: GroupStore | None = None
    """Records compositions, in the same transactions; None where a store cannot record them."""

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

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

    def deaths(self, outcomes: Sequence[Outcome]) -> dict[str, int]:
        """By task id: how many runs before these ended with the death of their process.

        A store that remembers no earlier runs knows of none.
        """
        return {}

    def forget_checkpoints(self, ids: Sequence[str]) -> None:  # noqa: B027  a store that keeps none need not say so
        """Delete what tasks that have ended have kept for their next run."""

    def prune(self) -> None:  # noqa: B027  a store that has nothing to drop need not say so
        """Drop what need not be kept any longer; called now and then."""

    def close(self) -> None:  # noqa: B027  a store that has nothing left to write need not say so
        """Write what is not written yet; called when nothing more will be saved. Raises ``StoreUnavailable``."""

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def get(self, id_or_name: str) -> Task | None:
        """The task of this id, or else the newest of this name; None as long as it has not ended."""

    @abstractmethod
    def group(self, group_id: str, *, failures: bool = True) -> list[Task]:
        """The tasks of a group that have ended, the newest first; without ``failures`` only successes."""

    @abstractmethod
    def count(self, group_id: str, *, failures: bool = False) -> int:
        """How many tasks of a group have ended, or with ``failures`` how many of them failed."""

    def ensure_whole(self, group_id: str, *, failures: bool = True) -> None:  # noqa: B027  a store may keep everything
        """Return if no result of this group has been pruned; without ``failures``, no success.

        Raises ``ResultsPruned``, which says how many are gone.
        """

    @abstractmethod
    def delete(self, task_id: str) -> bool:
        """Forget how a task ended; whether there was anything to forget."""

    @abstractmethod
    def delete_group(self, group_id: str, *, tasks: bool = False) -> int:
        """Forget a group, and with ``tasks`` its members too; returns how many it had."""


def wait_for(read: Callable[[], Value | Unfinished], milliseconds: float = 0) -> Value | Literal[Unfinished.UNFINISHED]:
    """What ``read`` returns as soon as that is not ``UNFINISHED``, or ``UNFINISHED`` when the time is up.

    0 reads once, a negative time waits forever. The pauses between two reads grow from 1 to 20 milliseconds.
    """
    deadline = time.monotonic() + milliseconds / 1000
    pause = FIRST_PAUSE_SECONDS
    while (value := read()) is UNFINISHED:
        left = deadline - time.monotonic() if milliseconds >= 0 else MAX_PAUSE_SECONDS
        if left <= 0:
            return UNFINISHED
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, MAX_PAUSE_SECONDS)
    return value
