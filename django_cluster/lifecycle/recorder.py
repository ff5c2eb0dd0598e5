"""The third verb: outcomes → rows → acknowledged or given back → announced.

Rows come first and acknowledgements second. A crash between the two repeats the recording, which the
store makes harmless; the other order would lose a result.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from django_cluster.brokers.base import Delivery
from django_cluster.brokers.multi_queue import queue_index
from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import Outcome, OutcomeStatus, RetryHint
from django_cluster.core.settings import DeliverySettings, QueueSettings
from django_cluster.errors import PackageError
from django_cluster.lifecycle.admission import ALL_FUNCTIONS, allowed_functions
from django_cluster.lifecycle.continuations import RETURN_AFTER_SECONDS, Continuations
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.retry_policy import RetryDecision, decide_retry
from django_cluster.lifecycle.signal_dispatch import send_signal
from django_cluster.lifecycle.soft_timeout import soft_timeout
from django_cluster.signals import post_execute
from django_cluster.stores.base import ResultStore
from django_cluster.stores.transient_task import transient_task

logger = logging.getLogger("django_cluster")
task_logger = logging.getLogger("django_cluster.tasks")
"""A logger of its own: error reporters, who hear of failed tasks anyhow, can leave it out."""

SUCCEEDED = RetryDecision(OutcomeStatus.SUCCESS)

HOOK_TIMEOUT = 30.0
"""Seconds that a hook may take, and all receivers of one outcome together."""


class Acknowledger(Protocol):
    """What is asked of a broker here; it need not be one (see ``cluster.settling``)."""

    @property
    def database(self) -> str | None:
        """As ``Broker.database``."""

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """As ``Broker.acknowledge``."""

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """As ``Broker.release``."""

    def give_back(self, deliveries: Sequence[Delivery], delay: float = 0.0) -> None:
        """As ``Broker.give_back``."""


class Recorder:
    """Records how jobs ended. ``broker`` is None where there is nothing to acknowledge (sync mode).

    ``continuations`` sends what follows in a composition; without one, nothing does. ``queue_settings``: of a cluster
    that works on several queues, whose receipts say from which they are.
    """

    def __init__(
        self,
        results: ResultStore,
        broker: Acknowledger | None,
        delivery: DeliverySettings,
        continuations: Continuations | None = None,
        *,
        queue_settings: Sequence[QueueSettings] = (),
    ) -> None:
        self._queue_settings = queue_settings
        self._results = results
        self._broker = broker
        self._delivery = delivery
        self._continuations = continuations

    def record(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Save all, then settle all with the broker; returns them as they were saved.

        Where the rows and the queue share a database, both happen in one transaction. Raises
        ``StoreUnavailable`` or ``BrokerUnavailable`` when it has to be repeated; repeating is safe.
        """
        if self._queue_settings:
            outcomes = [self._placed(outcome) for outcome in outcomes]
        decided = self._decide(outcomes)
        members = [outcome for outcome, decision in decided if decision.final and "member" in outcome.options]
        if members and self._continuations is not None:
            return self._record_members(self._continuations, decided, members)
        together = self._broker is not None and self._broker.database == self._results.database is not None
        whole: AbstractContextManager[Any] = self._results.batch() if together else nullcontext()
        with whole:
            kept = [outcome for outcome, decision in decided if decision.counted]
            self._results.save(kept)
            if self._broker is not None:
                self._acknowledge(self._broker, decided)
        return kept

    def _record_members(
        self, continuations: Continuations, decided: Sequence[tuple[Outcome, RetryDecision]], members: Sequence[Outcome]
    ) -> Sequence[Outcome]:
        """The same, where something may follow: what is owed to a composition is sent before anything is settled."""
        broker = self._broker
        together = (
            continuations.one_server and broker is not None and broker.database == self._results.database is not None
        )
        kept = [outcome for outcome, decision in decided if decision.counted]
        with self._results.batch():
            self._results.save([without_membership(outcome) for outcome in kept])
            steps, waiting = continuations.record_ends(members, deferred=not together)
            if together:
                self._results.save(continuations.send(steps))
                self._acknowledge_members(decided, waiting)
        if not together:
            if steps:
                self._results.save(continuations.send(steps))
                continuations.mark_sent(steps)
            self._acknowledge_members(decided, waiting)
        return kept

    def _acknowledge_members(self, decided: Sequence[tuple[Outcome, RetryDecision]], waiting: Collection[str]) -> None:
        if self._broker is not None:
            self._acknowledge(self._broker, [each for each in decided if each[0].id not in waiting])
            if back := [outcome.receipt for outcome, _ in decided if outcome.id in waiting and outcome.receipt]:
                self._broker.release(back, RETURN_AFTER_SECONDS, refund_attempt=True)

    def catch_up(self) -> None:
        """Send what somebody who died should have sent; called now and then. Raises as ``record``."""
        report_progress()
        if self._continuations is not None:
            self._results.save(self._continuations.catch_up())

    def _decide(self, outcomes: Sequence[Outcome]) -> list[tuple[Outcome, RetryDecision]]:
        """Each outcome as it is to be saved, and what follows."""
        if self._broker is None:
            # Here and now there is no later run: a task that asks for one has simply not ended.
            return [
                (outcome, RetryDecision(outcome.status, counted=outcome.retry_hint != RetryHint.SNOOZE))
                for outcome in outcomes
            ]
        lost = [outcome for outcome in outcomes if outcome.status == OutcomeStatus.LOST]
        deaths = self._results.deaths(lost) if lost else {}
        return [self._decide_one(outcome, deaths.get(outcome.id, 0)) for outcome in outcomes]

    def _decide_one(self, outcome: Outcome, deaths: int) -> tuple[Outcome, RetryDecision]:
        if outcome.status == OutcomeStatus.SUCCESS:  # nearly always, and then nothing has to be changed
            return outcome, SUCCEEDED
        decision = decide_retry(outcome, self._delivery_of(outcome), deaths=deaths)
        keeps_payload = not decision.counted or decision.status in (OutcomeStatus.DEAD, OutcomeStatus.REJECTED)
        payload = outcome.payload if keeps_payload else None
        return outcome._replace(status=str(decision.status), final=decision.final, payload=payload), decision

    def _delivery_of(self, outcome: Outcome) -> DeliverySettings:
        place = queue_index(outcome.receipt, len(self._queue_settings)) if self._queue_settings else None
        return self._delivery if place is None else self._queue_settings[place].delivery

    def _placed(self, outcome: Outcome) -> Outcome:
        """With the queue from which it came: of several, the row could not know it otherwise."""
        place = queue_index(outcome.receipt, len(self._queue_settings))
        if place is None:
            return outcome
        return outcome._replace(options={**outcome.options, "queue": self._queue_settings[place].queue})

    @staticmethod
    def _acknowledge(broker: Acknowledger, decided: Sequence[tuple[Outcome, RetryDecision]]) -> None:
        report_progress()
        if done := [outcome.receipt for outcome, decision in decided if decision.final and outcome.receipt]:
            broker.acknowledge(done)
        again: dict[RetryDecision, list[Delivery]] = defaultdict(list)
        for outcome, decision in decided:
            if not decision.final and outcome.receipt:
                again[decision].append(Delivery(outcome.receipt, outcome.payload or "", outcome.attempt))
        for decision, deliveries in again.items():
            report_progress()
            if decision.counted:
                broker.release([delivery.receipt for delivery in deliveries], decision.delay or 0.0)
            else:
                broker.give_back(deliveries, decision.delay or 0.0)


def without_membership(outcome: Outcome) -> Outcome:
    """Without its place, if it has succeeded: sent again, it is a task of its own. A failure may be repaired."""
    if outcome.status != OutcomeStatus.SUCCESS or "member" not in outcome.options:
        return outcome
    options = {name: value for name, value in outcome.options.items() if name not in ("member", "chain")}
    return outcome._replace(options=options)


def notify(
    outcomes: Sequence[Outcome], hook: Callable[[Outcome], None], reporters: ErrorReporters | None = None
) -> None:
    """Signals, hooks and error reporters of recorded outcomes.

    Comes last on purpose: a hook that kills its process must not be handed to the next one.
    """
    listened = bool(post_execute.receivers)
    for outcome in outcomes:
        if listened:
            notify_receivers(outcome)
        if has_hook(outcome):
            hook(outcome)
        if outcome.status == OutcomeStatus.SUCCESS:
            log_success(outcome)
        else:
            log_failure(outcome)
            if reporters is not None:
                reporters.report_outcome(outcome)


def has_hook(outcome: Outcome) -> bool:
    """Whether a hook is to be called: after the last run alone."""
    return outcome.final and bool(outcome.options.get("hook"))


def notify_receivers(outcome: Outcome) -> None:
    """A receiver that hangs or exits must not take its process with it either."""
    report_progress(HOOK_TIMEOUT)
    try:
        with soft_timeout(HOOK_TIMEOUT):
            send_signal(post_execute, task=outcome)
    except BaseException:  # SystemExit, or our own limit
        logger.exception("A receiver of post_execute did not come to its end for task %s.", outcome.name)


VERBS: dict[str, str] = {
    OutcomeStatus.REJECTED: "rejected",
    OutcomeStatus.DEAD: "moved to dead",
    OutcomeStatus.DISCARDED: "discarded",
}


def log_failure(outcome: Outcome) -> None:
    kind, message, _ = outcome.failure or ("", "", "")
    reason = f"{kind}: {message}" if message else kind
    what = VERBS.get(outcome.status, "failed")
    ending = "" if outcome.final else " It will be tried again."
    task_logger.error(
        "Task %s [%s] %s in run %d: %s.%s",
        outcome.name, outcome.func, what, outcome.attempt, reason.removesuffix("."), ending,
    )  # fmt: skip


def log_success(outcome: Outcome) -> None:
    """Log a success at level DEBUG; the caller has checked that the level is enabled."""
    task_logger.debug(
        "Task %s [%s] succeeded in run %d after %.3f s",
        outcome.name, outcome.func, outcome.attempt, outcome.stopped_at - outcome.started_at,
        extra={"event": "task_succeeded"},
    )  # fmt: skip


def run_hook(outcome: Outcome, find_row: Callable[[str], Any], functions: tuple[str, ...] = ALL_FUNCTIONS) -> None:
    """Call the hook of a finished task with its saved row; a hook may fail without harm.

    Of a success that is not kept, it gets a ``Task`` that is not in the database. ``functions``: the setting.
    """
    path = str(outcome.options["hook"])
    try:
        with soft_timeout(HOOK_TIMEOUT):
            allowed_functions(functions).load(path)(find_row(outcome.id) or transient_task(outcome))
    except PackageError as error:
        logger.error("The hook %s of task %s cannot be called: %s", path, outcome.name, error)
    except BaseException:  # a hook is user code: SystemExit must not end its process
        logger.exception("The hook %s of task %s failed.", path, outcome.name)
