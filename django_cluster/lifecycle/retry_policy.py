"""Decides whether a run was the last, and when the next one is. Functions of values."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django_cluster.core.events.tasks import RETRY_DELAY_UNUSABLE
from django_cluster.core.import_paths import load
from django_cluster.core.messages import Outcome, OutcomeStatus, RetryHint, TaskOptions
from django_cluster.core.settings import DeliverySettings

LINEAR = "linear"
FACTORS: Mapping[float | str, float] = {"fixed": 1.0, "exponential": 2.0}
FINAL_STATUSES = frozenset(
    {
        OutcomeStatus.SUCCESS,
        OutcomeStatus.REJECTED,
        OutcomeStatus.DISCARDED,
        OutcomeStatus.CANCELLED,
        OutcomeStatus.EXPIRED,
    }
)


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What is to be done with the message of a run that has ended."""

    status: str
    """How the run is recorded."""
    delay: float | None = None
    """Seconds until the next run; None: this one was the last."""
    counted: bool = True
    """Whether the run counts as an attempt."""

    @property
    def final(self) -> bool:
        return self.delay is None


def decide_retry(
    outcome: Outcome,
    delivery: DeliverySettings,
    *,
    deaths: int = 0,
    jitter: Callable[[], float] = random.random,
) -> RetryDecision:
    """``deaths``: how often a process had died under this task before.

    A success, and what can never be run, is final. A failed run is final when the task or
    ``ack_failures`` says so, or ``max_attempts`` is reached. A run that died with its process counts like
    any other; beyond that, ``max_worker_deaths`` such runs end even a task without a limit of attempts.
    """
    status = outcome.status
    if status in FINAL_STATUSES:
        return RetryDecision(status)
    if status == OutcomeStatus.DUPLICATE:
        return RetryDecision(status, counted=False)
    if outcome.retry_hint == RetryHint.SNOOZE:
        return RetryDecision(status, outcome.delay or 0.0, counted=False)
    if status == OutcomeStatus.LOST and delivery.max_worker_deaths and deaths + 1 >= delivery.max_worker_deaths:
        return RetryDecision(OutcomeStatus.DEAD)
    options = TaskOptions.from_wire(outcome.options)
    if is_last_run(status, outcome.retry_hint, outcome.attempt, options, delivery):
        return RetryDecision(status)
    if outcome.delay is not None:
        return RetryDecision(status, outcome.delay)
    first = delivery.retry_delay if options.retry_delay is None else options.retry_delay
    return RetryDecision(status, backoff(first, outcome.attempt, delivery, jitter, growth=options.retry_backoff))


def is_last_run(status: str, retry_hint: str, attempt: int, options: TaskOptions, delivery: DeliverySettings) -> bool:
    """Whether a failed run ends its task. Deaths may end it too: see ``decide_retry``."""
    if retry_hint == RetryHint.STOP:
        return True
    gives_up = delivery.ack_failures if options.ack_failure is None else options.ack_failure
    if gives_up and status != OutcomeStatus.LOST and retry_hint != RetryHint.RETRY:
        return True
    limit = delivery.max_attempts if options.max_attempts is None else options.max_attempts
    return bool(limit) and attempt >= limit


def backoff(
    first: float,
    attempt: int,
    delivery: DeliverySettings,
    jitter: Callable[[], float] = random.random,
    *,
    growth: float | str | None = None,
) -> float:
    """``first * factor ** (attempt - 1)``, capped; with jitter, between three quarters of that and all of it.

    ``growth``: the option ``retry_backoff`` of the task, which goes before the setting. "fixed" is a factor of 1,
    "exponential" one of 2, and "linear" means ``first * attempt``. Where the setting is the path of a function, that
    names the delay instead.
    """
    cap = max(delivery.retry_max_delay, first)
    factor = delivery.retry_backoff if growth is None else FACTORS.get(growth, growth)
    if factor == LINEAR:
        delay = min(first * attempt, cap)
    elif isinstance(factor, str):
        delay = min(delay_from_function(factor, attempt, first), cap)
    else:
        try:
            delay = min(first * factor ** (attempt - 1), cap)
        except OverflowError:
            delay = cap if first else 0.0
    return delay * (0.75 + 0.25 * jitter()) if delivery.retry_jitter else delay


def delay_from_function(path: str, attempt: int, fallback: float) -> float:
    """What the project's own function says; one that fails is logged, and the first delay stands in for it."""
    try:
        delay = float(load(path)(attempt))
        if 0 <= delay < math.inf:
            return delay
        RETRY_DELAY_UNUSABLE.log(function=path, attempt=attempt, error=f"{delay!r} is not a delay")
    except Exception as error:  # noqa: BLE001  a function of the project
        RETRY_DELAY_UNUSABLE.log(function=path, attempt=attempt, error=error, exc_info=True)
    return fallback
