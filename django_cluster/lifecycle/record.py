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
from django_cluster.brokers.several import place_of
from django_cluster.core.liveness import report_progress
from django_cluster.core.messages import Advice, Outcome, OutcomeStatus
from django_cluster.core.settings import DeliverySettings, QueueShare
from django_cluster.errors import PackageError
from django_cluster.lifecycle.admission import UNLIMITED, allowed_by
from django_cluster.lifecycle.announce import announce
from django_cluster.lifecycle.deadline import deadline
from django_cluster.lifecycle.relay import BACK_IN, Relay
from django_cluster.lifecycle.reporters import Reporters
from django_cluster.lifecycle.retrying import Sequel, sequel_of
from django_cluster.signals import post_execute
from django_cluster.stores.base import ResultStore
from django_cluster.stores.unsaved import unsaved_task

logger = logging.getLogger("django_cluster")
failures = logging.getLogger("django_cluster.tasks")
"""A logger of its own: error reporters, who hear of failed tasks anyhow, can leave it out."""

SUCCEEDED = Sequel(OutcomeStatus.SUCCESS)

HOOK_LIMIT = 30.0
"""Seconds that a hook may take, and all receivers of one outcome together."""


class Settles(Protocol):
    """What is asked of a broker here; it need not be one (see ``cluster.settling``)."""

    @property
    def database(self) -> str | None:
        """As ``Broker.database``."""

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """As ``Broker.acknowledge``."""

    def release(self, receipts: Sequence[str], delay: float = 0.0, *, begun: bool = True) -> None:
        """As ``Broker.release``."""

    def give_back(self, deliveries: Sequence[Delivery], delay: float = 0.0) -> None:
        """As ``Broker.give_back``."""


class Recorder:
    """Records how jobs ended. ``broker`` is None where there is nothing to acknowledge (sync mode).

    ``relay`` sends what follows in a composition; without one, nothing does. ``shares``: of a cluster that works on
    several queues, whose receipts say from which they are.
    """

    def __init__(
        self,
        results: ResultStore,
        broker: Settles | None,
        delivery: DeliverySettings,
        relay: Relay | None = None,
        *,
        shares: Sequence[QueueShare] = (),
    ) -> None:
        self._shares = shares
        self._results = results
        self._broker = broker
        self._delivery = delivery
        self._relay = relay

    def record(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Save all, then settle all with the broker; returns them as they were saved.

        Where the rows and the queue share a database, both happen in one transaction. Raises
        ``StoreUnavailable`` or ``BrokerUnavailable`` when it has to be repeated; repeating is safe.
        """
        if self._shares:
            outcomes = [self._placed(outcome) for outcome in outcomes]
        decided = self._decide(outcomes)
        members = [outcome for outcome, sequel in decided if sequel.final and "member" in outcome.options]
        if members and self._relay is not None:
            return self._record_members(self._relay, decided, members)
        together = self._broker is not None and self._broker.database == self._results.database is not None
        whole: AbstractContextManager[Any] = self._results.batch() if together else nullcontext()
        with whole:
            kept = [outcome for outcome, sequel in decided if sequel.counted]
            self._results.save(kept)
            if self._broker is not None:
                self._settle(self._broker, decided)
        return kept

    def _record_members(
        self, relay: Relay, decided: Sequence[tuple[Outcome, Sequel]], members: Sequence[Outcome]
    ) -> Sequence[Outcome]:
        """The same, where something may follow: what is owed to a composition is sent before anything is settled."""
        broker = self._broker
        together = relay.one_server and broker is not None and broker.database == self._results.database is not None
        kept = [outcome for outcome, sequel in decided if sequel.counted]
        with self._results.batch():
            self._results.save([as_kept(outcome) for outcome in kept])
            steps, waiting = relay.note(members, owing=not together)
            if together:
                self._results.save(relay.send(steps))
                self._settle_members(decided, waiting)
        if not together:
            if steps:
                self._results.save(relay.send(steps))
                relay.settled(steps)
            self._settle_members(decided, waiting)
        return kept

    def _settle_members(self, decided: Sequence[tuple[Outcome, Sequel]], waiting: Collection[str]) -> None:
        if self._broker is not None:
            self._settle(self._broker, [each for each in decided if each[0].id not in waiting])
            if back := [outcome.receipt for outcome, _ in decided if outcome.id in waiting and outcome.receipt]:
                self._broker.release(back, BACK_IN, begun=False)

    def catch_up(self) -> None:
        """Send what somebody who died should have sent; called now and then. Raises as ``record``."""
        report_progress()
        if self._relay is not None:
            self._results.save(self._relay.catch_up())

    def _decide(self, outcomes: Sequence[Outcome]) -> list[tuple[Outcome, Sequel]]:
        """Each outcome as it is to be saved, and what follows."""
        if self._broker is None:
            # Here and now there is no later run: a task that asks for one has simply not ended.
            return [(outcome, Sequel(outcome.status, counted=outcome.advice != Advice.SNOOZE)) for outcome in outcomes]
        lost = [outcome for outcome in outcomes if outcome.status == OutcomeStatus.LOST]
        deaths = self._results.deaths(lost) if lost else {}
        return [self._decide_one(outcome, deaths.get(outcome.id, 0)) for outcome in outcomes]

    def _decide_one(self, outcome: Outcome, deaths: int) -> tuple[Outcome, Sequel]:
        if outcome.status == OutcomeStatus.SUCCESS:  # nearly always, and then nothing has to be changed
            return outcome, SUCCEEDED
        sequel = sequel_of(outcome, self._delivery_of(outcome), deaths=deaths)
        keeps_payload = not sequel.counted or sequel.status in (OutcomeStatus.DEAD, OutcomeStatus.REJECTED)
        payload = outcome.payload if keeps_payload else None
        return outcome._replace(status=str(sequel.status), final=sequel.final, payload=payload), sequel

    def _delivery_of(self, outcome: Outcome) -> DeliverySettings:
        place = place_of(outcome.receipt, len(self._shares)) if self._shares else None
        return self._delivery if place is None else self._shares[place].delivery

    def _placed(self, outcome: Outcome) -> Outcome:
        """With the queue from which it came: of several, the row could not know it otherwise."""
        place = place_of(outcome.receipt, len(self._shares))
        if place is None:
            return outcome
        return outcome._replace(options={**outcome.options, "cluster": self._shares[place].queue})

    @staticmethod
    def _settle(broker: Settles, decided: Sequence[tuple[Outcome, Sequel]]) -> None:
        report_progress()
        if done := [outcome.receipt for outcome, sequel in decided if sequel.final and outcome.receipt]:
            broker.acknowledge(done)
        again: dict[Sequel, list[Delivery]] = defaultdict(list)
        for outcome, sequel in decided:
            if not sequel.final and outcome.receipt:
                again[sequel].append(Delivery(outcome.receipt, outcome.payload or "", outcome.attempt))
        for sequel, deliveries in again.items():
            report_progress()
            if sequel.counted:
                broker.release([delivery.receipt for delivery in deliveries], sequel.delay or 0.0)
            else:
                broker.give_back(deliveries, sequel.delay or 0.0)


def as_kept(outcome: Outcome) -> Outcome:
    """Without its place, if it has succeeded: sent again, it is a task of its own. A failure may be repaired."""
    if outcome.status != OutcomeStatus.SUCCESS or "member" not in outcome.options:
        return outcome
    options = {name: value for name, value in outcome.options.items() if name not in ("member", "chain")}
    return outcome._replace(options=options)


def tell(outcomes: Sequence[Outcome], hook: Callable[[Outcome], None], reporters: Reporters | None = None) -> None:
    """Signals, hooks and error reporters of recorded outcomes.

    Comes last on purpose: a hook that kills its process must not be handed to the next one.
    """
    listened = bool(post_execute.receivers)
    for outcome in outcomes:
        if listened:
            tell_receivers(outcome)
        if has_hook(outcome):
            hook(outcome)
        if outcome.status == OutcomeStatus.SUCCESS:
            log_success(outcome)
        else:
            log_failure(outcome)
            if reporters is not None:
                reporters.report_unwitnessed(outcome)


def has_hook(outcome: Outcome) -> bool:
    """Whether a hook is to be called: after the last run alone."""
    return outcome.final and bool(outcome.options.get("hook"))


def tell_receivers(outcome: Outcome) -> None:
    """A receiver that hangs or exits must not take its process with it either."""
    report_progress(HOOK_LIMIT)
    try:
        with deadline(HOOK_LIMIT):
            announce(post_execute, task=outcome)
    except BaseException:  # SystemExit, or our own limit
        logger.exception("A receiver of post_execute did not come to its end for task %s.", outcome.name)


WORDS: dict[str, str] = {
    OutcomeStatus.REJECTED: "was put aside",
    OutcomeStatus.DEAD: "was put aside as dead",
    OutcomeStatus.DISCARDED: "was discarded",
}


def log_failure(outcome: Outcome) -> None:
    kind, message, _ = outcome.failure or ("", "", "")
    reason = f"{kind}: {message}" if message else kind
    what = WORDS.get(outcome.status, "failed")
    ending = "" if outcome.final else " It will be tried again."
    failures.error(
        "Task %s [%s] %s in run %d: %s.%s",
        outcome.name, outcome.func, what, outcome.attempt, reason.removesuffix("."), ending,
    )  # fmt: skip


def log_success(outcome: Outcome) -> None:
    """Log a success at level DEBUG; the caller has checked that the level is enabled."""
    failures.debug(
        "Task %s [%s] succeeded in run %d after %.3f s",
        outcome.name, outcome.func, outcome.attempt, outcome.stopped_at - outcome.started_at,
        extra={"event": "task_succeeded"},
    )  # fmt: skip


def run_hook(outcome: Outcome, find_row: Callable[[str], Any], functions: tuple[str, ...] = UNLIMITED) -> None:
    """Call the hook of a finished task with its saved row; a hook may fail without harm.

    Of a success that is not kept, it gets a ``Task`` that is not in the database. ``functions``: the setting.
    """
    path = str(outcome.options["hook"])
    try:
        with deadline(HOOK_LIMIT):
            allowed_by(functions).load(path)(find_row(outcome.id) or unsaved_task(outcome))
    except PackageError as error:
        logger.error("The hook %s of task %s cannot be called: %s", path, outcome.name, error)
    except BaseException:  # a hook is user code: SystemExit must not end its process
        logger.exception("The hook %s of task %s failed.", path, outcome.name)
