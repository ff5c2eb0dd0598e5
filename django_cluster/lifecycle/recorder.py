"""Records how runs ended, in four steps: decide → save → continue → acknowledge.

Rows come first and acknowledgements second. A crash between the two repeats the recording, which the store makes
harmless; the other order would lose a result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from typing import NamedTuple, Protocol

from django_cluster.brokers.messages import Delivery
from django_cluster.core.compositions import NextSteps
from django_cluster.core.current_task import CHECKPOINT
from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import Outcome, OutcomeStatus, RetryHint
from django_cluster.core.settings import DeliverySettings, QueueSettings
from django_cluster.lifecycle.continuations import RETURN_AFTER_SECONDS, Continuations
from django_cluster.lifecycle.retry_policy import RetryDecision, decide_retry
from django_cluster.stores.base import ResultStore

SUCCEEDED = RetryDecision(OutcomeStatus.SUCCESS)
NO_STEPS = NextSteps([])


class Acknowledger(Protocol):
    """The part of a broker that the recorder needs; ``cluster.ipc.remote_ack`` has another implementation."""

    @property
    def database(self) -> str | None:
        """See ``Broker.database``."""

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """See ``Broker.acknowledge``."""

    def release(self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False) -> None:
        """See ``Broker.release``."""


class Decided(NamedTuple):
    """An outcome as it is saved, and what follows for its message."""

    outcome: Outcome
    decision: RetryDecision

    @property
    def is_member(self) -> bool:
        """Whether a member of a composition has ended for good."""
        return self.decision.final and "member" in self.outcome.options


class Recorder:
    """Saves outcomes, sends what follows them, and acknowledges their messages."""

    def __init__(
        self,
        results: ResultStore,
        broker: Acknowledger | None,
        delivery: DeliverySettings,
        continuations: Continuations | None = None,
        *,
        queue_settings: Sequence[QueueSettings] = (),
    ) -> None:
        """``broker``: None where there is nothing to acknowledge (sync mode). ``continuations``: sends what follows in
        a composition; None: nothing is sent. ``queue_settings``: for each queue of a cluster that works on several.
        """
        self._results = results
        self._broker = broker
        self._delivery = delivery
        self._continuations = continuations
        self._delivery_by_queue = {each.queue: each.delivery for each in queue_settings}

    def record(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Save outcomes and acknowledge or return their messages; returns them as they were saved.

        Where the rows and the queue share a database, all of it is one transaction. Raises ``StoreUnavailable`` or
        ``BrokerUnavailable`` when it has to be repeated; repeating is safe.
        """
        kept = {outcome.id for outcome in outcomes if CHECKPOINT in outcome.options}
        decided = self._decide(list(map(without_checkpoint, outcomes)) if kept else outcomes)
        one_transaction = self._is_one_transaction(decided)
        with self._results.batch() if one_transaction else nullcontext():
            next_steps = self._save(decided, deferred=not one_transaction)
            if kept:
                ended = [each.outcome.id for each in decided if each.decision.final and each.outcome.id in kept]
                self._results.forget_checkpoints(ended)
            self._continue(next_steps, deferred=not one_transaction)
            self._acknowledge(decided, next_steps.waiting)
        return [outcome for outcome, decision in decided if decision.counted]

    def catch_up(self) -> None:
        """Send the next steps that a recorder which died has left; called periodically. Raises as ``record``."""
        report_progress()
        if self._continuations is not None:
            self._results.save(self._continuations.catch_up())

    # ── decide ───────────────────────────────────────────────────────────────────────────────────

    def _decide(self, outcomes: Sequence[Outcome]) -> list[Decided]:
        if self._broker is None:
            # In sync mode there is no later run: a task that asks for one has not ended.
            return [
                Decided(each, RetryDecision(each.status, counted=each.retry_hint != RetryHint.SNOOZE))
                for each in outcomes
            ]
        lost = [outcome for outcome in outcomes if outcome.status == OutcomeStatus.LOST]
        deaths = self._results.deaths(lost) if lost else {}
        return [self._decide_one(outcome, deaths.get(outcome.id, 0)) for outcome in outcomes]

    def _decide_one(self, outcome: Outcome, deaths: int) -> Decided:
        if outcome.status == OutcomeStatus.SUCCESS:  # nearly always, and then nothing has to be changed
            return Decided(outcome, SUCCEEDED)
        delivery = self._delivery_by_queue.get(outcome.queue, self._delivery)
        decision = decide_retry(outcome, delivery, deaths=deaths)
        keeps_payload = not decision.counted or decision.status in (OutcomeStatus.DEAD, OutcomeStatus.REJECTED)
        payload = outcome.payload if keeps_payload else None
        return Decided(outcome._replace(status=str(decision.status), final=decision.final, payload=payload), decision)

    def _is_one_transaction(self, decided: Sequence[Decided]) -> bool:
        """Whether rows, next steps and acknowledgements all go to one database."""
        if self._broker is None or self._results.database is None or self._broker.database != self._results.database:
            return False
        continuations = self._continuations
        return continuations is None or continuations.one_server or not any(each.is_member for each in decided)

    # ── save, continue, acknowledge ──────────────────────────────────────────────────────────────

    def _save(self, decided: Sequence[Decided], *, deferred: bool) -> NextSteps:
        """Save the rows, and with them which members of compositions have ended; returns what follows.

        ``deferred``: the steps are not sent in this transaction, and are claimed until they are.
        """
        saved = [outcome for outcome, decision in decided if decision.counted]
        members = [each.outcome for each in decided if each.is_member]
        if not members or self._continuations is None:
            self._results.save(saved)
            return NO_STEPS
        with self._results.batch():
            self._results.save([without_membership(outcome) for outcome in saved])
            return self._continuations.record_ends(members, deferred=deferred)

    def _continue(self, next_steps: NextSteps, *, deferred: bool) -> None:
        """Send what follows; a step that can never be sent is saved as a failure."""
        if not next_steps.steps or self._continuations is None:
            return
        self._results.save(self._continuations.send(next_steps.steps))
        if deferred:
            self._continuations.mark_sent(next_steps.steps)

    def _acknowledge(self, decided: Sequence[Decided], waiting: Collection[str]) -> None:
        """Acknowledge what is final, return the rest. ``waiting``: ids of tasks whose step another recorder sends."""
        broker = self._broker
        if broker is None:
            return
        report_progress()
        ended = [each for each in decided if each.outcome.receipt and each.outcome.id not in waiting]
        if done := [outcome.receipt for outcome, decision in ended if decision.final]:
            broker.acknowledge(done)
        for decision, deliveries in _by_decision(ended).items():
            report_progress()
            broker.release(deliveries, decision.delay or 0.0, refund_attempt=not decision.counted)
        if held_back := [
            _delivery(each.outcome) for each in decided if each.outcome.receipt and each.outcome.id in waiting
        ]:
            broker.release(held_back, RETURN_AFTER_SECONDS, refund_attempt=True)


def _by_decision(decided: Sequence[Decided]) -> dict[RetryDecision, list[Delivery]]:
    """The messages that go back to their queue; those of one decision go in one call."""
    found: dict[RetryDecision, list[Delivery]] = defaultdict(list)
    for outcome, decision in decided:
        if not decision.final:
            found[decision].append(_delivery(outcome))
    return found


def _delivery(outcome: Outcome) -> Delivery:
    """The message of an outcome as it was leased; its payload is there only where the run is not counted."""
    return Delivery(outcome.receipt, outcome.payload or "", outcome.attempt)


def without_checkpoint(outcome: Outcome) -> Outcome:
    """The outcome as it is saved: that something was kept is no option of its task."""
    return outcome._replace(options={name: value for name, value in outcome.options.items() if name != CHECKPOINT})


def without_membership(outcome: Outcome) -> Outcome:
    """The outcome as it is saved: without its place in a composition if it succeeded, because a retry of a success is
    a task of its own. A failed member keeps its place: a retry that succeeds repairs the composition."""
    if outcome.status != OutcomeStatus.SUCCESS or "member" not in outcome.options:
        return outcome
    options = {name: value for name, value in outcome.options.items() if name not in ("member", "chain")}
    return outcome._replace(options=options)
