"""The third verb: outcomes → rows → acknowledged or given back → announced.

Rows come first and acknowledgements second. A crash between the two repeats the recording, which the
store makes harmless; the other order would lose a result.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django_cluster.brokers.base import Broker
from django_cluster.core.dotted import load
from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.core.settings import DeliverySettings
from django_cluster.errors import PackageError
from django_cluster.lifecycle.announce import announce
from django_cluster.lifecycle.deadline import deadline
from django_cluster.lifecycle.retrying import delay_before_next
from django_cluster.signals import post_execute
from django_cluster.stores.base import ResultStore

logger = logging.getLogger("django_cluster")

HOOK_LIMIT = 30.0
"""Seconds that a hook may take: it runs in the monitor, and everybody waits for the monitor."""


class Recorder:
    """Records how jobs ended. ``broker`` is None where there is nothing to acknowledge (sync mode)."""

    def __init__(self, results: ResultStore, broker: Broker | None, delivery: DeliverySettings) -> None:
        self._results = results
        self._broker = broker
        self._delivery = delivery

    def record(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Save all, then settle all with the broker; returns them as they were saved.

        Where the rows and the queue share a database, both happen in one transaction. Raises
        ``StoreUnavailable`` or ``BrokerUnavailable`` when it has to be repeated; repeating is safe.
        """
        decided = [self._decide(outcome) for outcome in outcomes]
        together = self._broker is not None and self._broker.database == self._results.database is not None
        whole: AbstractContextManager[Any] = self._results.batch() if together else nullcontext()
        with whole:
            self._results.save([outcome for outcome, _ in decided])
            self._settle(decided)
        return [outcome for outcome, _ in decided]

    def _decide(self, outcome: Outcome) -> tuple[Outcome, float | None]:
        """The outcome with its finality, and the delay before its next run (None = final)."""
        if self._broker is None or not outcome.receipt:
            return outcome, None
        delay = delay_before_next(outcome, self._delivery)
        return outcome._replace(final=delay is None), delay

    def _settle(self, decided: Sequence[tuple[Outcome, float | None]]) -> None:
        if self._broker is None:
            return
        if done := [outcome.receipt for outcome, delay in decided if delay is None and outcome.receipt]:
            self._broker.acknowledge(done)
        again: dict[float, list[str]] = defaultdict(list)
        for outcome, delay in decided:
            if delay is not None:
                again[delay].append(outcome.receipt)
        for delay, receipts in again.items():
            self._broker.release(receipts, delay)


def tell(outcomes: Sequence[Outcome], hook: Callable[[Outcome], None]) -> None:
    """Signals and hooks of recorded outcomes.

    Comes last on purpose: a hook that kills its process must not be handed to the next one.
    """
    listened = bool(post_execute.receivers)
    for outcome in outcomes:
        if listened:
            announce(post_execute, task=outcome)
        if outcome.final and outcome.options.get("hook"):
            hook(outcome)
        if outcome.status != OutcomeStatus.SUCCESS:
            log_failure(outcome)


def log_failure(outcome: Outcome) -> None:
    kind, message, _ = outcome.failure or ("", "", "")
    what = "was put aside" if outcome.status == OutcomeStatus.REJECTED else "failed"
    ending = "" if outcome.final else " It will be tried again."
    logger.error(
        "Task %s [%s] %s in run %d: %s: %s.%s",
        outcome.name, outcome.func, what, outcome.attempt, kind, message, ending,
    )  # fmt: skip


def run_hook(outcome: Outcome, find_row: Callable[[str], Any]) -> None:
    """Call the hook of a finished task with its saved row; a hook may fail without harm."""
    path = str(outcome.options["hook"])
    try:
        with deadline(HOOK_LIMIT):
            row = find_row(outcome.id)
            if row is not None:
                load(path)(row)
    except PackageError as error:
        logger.error("The hook %s of task %s cannot be called: %s", path, outcome.name, error)
    except BaseException:  # a hook is user code: SystemExit must not end the monitor
        logger.exception("The hook %s of task %s failed.", path, outcome.name)
