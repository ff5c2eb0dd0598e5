"""What follows a run: final, or another attempt and when. Decided purely; others obey."""

from __future__ import annotations

import random
from collections.abc import Callable

from django_cluster.core.messages import Outcome, OutcomeStatus, TaskOptions
from django_cluster.core.settings import DeliverySettings

MAX_DOUBLINGS = 64
"""Beyond this the cap has long been reached, and the power would only overflow."""


def delay_before_next(
    outcome: Outcome, delivery: DeliverySettings, jitter: Callable[[], float] = random.random
) -> float | None:
    """Seconds until the task is to be run again; None when this run was its last.

    A success and a package that can never be run are final. A failed run is final when
    ``ack_failures`` says so or ``max_attempts`` is reached. A run that died with its process counts
    like any other; beyond that, ``poison_limit`` such runs end even a task that may be tried for ever.
    """
    if outcome.status in (OutcomeStatus.SUCCESS, OutcomeStatus.REJECTED):
        return None
    options = TaskOptions.from_wire(outcome.options)
    lost = outcome.status == OutcomeStatus.LOST
    if lost and delivery.poison_limit and outcome.attempt >= delivery.poison_limit:
        return None
    if not lost and (delivery.ack_failures if options.ack_failure is None else options.ack_failure):
        return None
    limit = delivery.max_attempts if options.max_attempts is None else options.max_attempts
    if limit and outcome.attempt >= limit:
        return None
    first = delivery.retry_delay if options.retry_delay is None else options.retry_delay
    return backoff(first, outcome.attempt, delivery, jitter)


def backoff(
    first: float, attempt: int, delivery: DeliverySettings, jitter: Callable[[], float] = random.random
) -> float:
    """``first * factor ** (attempt - 1)``, capped; with jitter, between three quarters of that and all of it."""
    doublings = min(attempt - 1, MAX_DOUBLINGS)
    delay = min(first * delivery.retry_backoff**doublings, max(delivery.retry_max_delay, first))
    return delay * (0.75 + 0.25 * jitter()) if delivery.retry_jitter else delay
