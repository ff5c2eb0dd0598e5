"""Outcome → the values of a row. Decided purely; ``stores.orm`` writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django_cluster.core.fingerprints import fingerprint_of
from django_cluster.core.headers import MOST_RUNS
from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.core.safe_text import storable as storable
from django_cluster.core.settings import ResultSettings
from django_cluster.core.time import storable_moment

SUCCESS = OutcomeStatus.SUCCESS.value

MAX_ATTEMPTS_KEPT = 10
"""EarlierRuns attempts that a row remembers."""
MAX_ATTEMPT_MESSAGE = 1000
"""Characters kept of the error of an earlier attempt."""
MAX_ATTEMPT_TRACEBACK = 4000
"""Characters kept of the end of the traceback of an earlier attempt."""
MAX_REDUCED_TEXT = 10_000

# What a success at the first attempt has to say; the rest of its row is the same for all of them.
FIRST_SUCCESS = (
    *("id", "name", "func", "hook", "group", "queue", "sealed_arguments", "sealed_result"),
    *("enqueued_at", "started_at", "stopped_at", "worker"),
)
CORRELATED = (*FIRST_SUCCESS, "correlation_id")
"""What a success at the first attempt has to say if something has caused its task."""
EVERYTHING = (
    *CORRELATED,
    *("status", "success", "final", "attempt_count", "error_kind", "error_message", "error_traceback"),
    *("attempts", "payload", "options", "fingerprint", "post_mortem_data"),
)
IN_COLUMNS = frozenset({"correlation_id", "hook", "group", "queue", "schedule", "traceparent"})
"""Options that have a column of their own, or mean this one run and no other."""

Moment = Callable[[float], Any]
"""Unix time → what a database's driver is to be given."""
Attempt = Mapping[str, Any]
"""An earlier attempt: number, worker, started, stopped, status, kind, message, traceback."""
Values = tuple[Any, ...]


class EarlierRuns(NamedTuple):
    """What a row says already of a task that now has run again."""

    attempt: int
    attempts: Sequence[Attempt]
    last: Attempt


class Deduplicated(NamedTuple):
    """The one outcome of a task that counts, and the attempts before it."""

    outcome: Outcome
    before: Sequence[Attempt] = ()


# ── which outcomes leave a row ───────────────────────────────────────────────────────────────────


def lifetime_in_cache(outcome: Outcome, settings: ResultSettings) -> bool | int:
    """How long a result is cached: False or 0: not at all; True: forever; else seconds."""
    cached: bool | int | None = outcome.options.get("cached")
    return settings.cached if cached is None else cached


def leaves_row(outcome: Outcome, settings: ResultSettings) -> bool:
    """A failure always does; a success unless it goes to the cache, or the caller or the limit says otherwise."""
    if outcome.status != SUCCESS:
        return True
    if lifetime_in_cache(outcome, settings):
        return False
    save: bool | None = outcome.options.get("save")
    return settings.save_limit >= 0 if save is None else save


def numbered_in_row(outcome: Outcome) -> Outcome:
    """The outcome with the number that its run has in its row, where an operator's retry goes on counting."""
    earlier: int = outcome.options.get("earlier_runs", 0) if outcome.options else 0
    return outcome._replace(attempt=min(outcome.attempt + earlier, MOST_RUNS)) if earlier else outcome


def deduplicate(outcomes: Sequence[Outcome]) -> list[Deduplicated]:
    """One entry for each task, in the order of their ids.

    Rows are always locked in the same order, then, so that two monitors cannot wait for each other.
    Of several outcomes of one task the first success counts, or else the latest attempt.
    """
    if len({outcome.id for outcome in outcomes}) == len(outcomes):
        return [Deduplicated(outcome) for outcome in sorted(outcomes, key=attrgetter("id"))]
    by_attempt = sorted(outcomes, key=attrgetter("id", "attempt"))
    return [_deduplicate_one(list(runs)) for _, runs in groupby(by_attempt, key=attrgetter("id"))]


def _deduplicate_one(runs: Sequence[Outcome]) -> Deduplicated:
    counts = next((run for run in runs if run.status == SUCCESS), runs[-1])
    return Deduplicated(counts, [attempt_of(run) for run in runs if run.attempt < counts.attempt])


def attempt_of(outcome: Outcome) -> Attempt:
    kind, message, traceback = outcome.failure or ("", "", "")
    return {
        "number": outcome.attempt,
        "worker": outcome.worker,
        "started": outcome.started_at,
        "stopped": outcome.stopped_at,
        "status": outcome.status,
        "kind": kind,
        "message": message[:MAX_ATTEMPT_MESSAGE],
        "traceback": traceback[-MAX_ATTEMPT_TRACEBACK:],
    }


def with_history(deduplicated: Deduplicated, earlier: EarlierRuns | None) -> Deduplicated:
    """``before`` completed by what the row remembers: each attempt once, the last ones only."""
    known = {attempt["number"]: attempt for attempt in (earlier.attempts if earlier else ())}
    if earlier and 0 < earlier.attempt < deduplicated.outcome.attempt:  # 0: retried under the same id, and not run yet
        known[earlier.attempt] = earlier.last
    known.update((attempt["number"], attempt) for attempt in deduplicated.before)
    before = [known[number] for number in sorted(known) if number < deduplicated.outcome.attempt]
    return deduplicated._replace(before=before[-MAX_ATTEMPTS_KEPT:])


# ── the values themselves ────────────────────────────────────────────────────────────────────────


def first_success_values(deduplicated: Deduplicated, moment: Moment) -> Values:
    """The row of a success at the first attempt (``FIRST_SUCCESS``): the way of nearly every task."""
    outcome = deduplicated.outcome
    option = outcome.options.get
    return (
        outcome.id,
        storable(outcome.name, 100),
        storable(outcome.func, 256),
        storable(option("hook"), 256),
        storable(option("group"), 100),
        storable(outcome.queue or option("queue"), 100),
        outcome.arguments,
        outcome.result,
        moment(outcome.enqueued_at),
        moment(outcome.started_at),
        moment(outcome.stopped_at),
        storable(outcome.worker, 100),
    )


def correlated_values(deduplicated: Deduplicated, moment: Moment) -> Values:
    """The row of a success at the first attempt with a correlation id of its own (``CORRELATED``)."""
    correlation_id = storable(deduplicated.outcome.options.get("correlation_id"), 100)
    return (*first_success_values(deduplicated, moment), correlation_id)


def all_values(deduplicated: Deduplicated, moment: Moment) -> Values:
    """The row of any outcome (``EVERYTHING``)."""
    outcome = deduplicated.outcome
    kind, message, traceback = outcome.failure or ("", "", "")
    return (
        *correlated_values(deduplicated, moment),
        outcome.status,
        outcome.status == SUCCESS,
        outcome.final,
        min(max(outcome.attempt, 0), MOST_RUNS),
        storable(kind, 255),
        storable(message),
        storable(traceback),
        attempts_text(deduplicated.before),
        storable(outcome.payload),
        options_text(outcome.options),
        fingerprint_of(kind, outcome.func, traceback) if outcome.failure else None,
        outcome.post_mortem,
    )


def attempts_text(attempts: Sequence[Attempt]) -> str | None:
    """JSON, in ASCII; the NUL that PostgreSQL refuses even when it is written as ``\\u0000`` is replaced."""
    if not attempts:
        return None
    return json.dumps([{key: storable(v) if isinstance(v, str) else v for key, v in each.items()} for each in attempts])


def other_options(options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The options that a row keeps in one column together; None for nearly every task."""
    return ({name: value for name, value in options.items() if name not in IN_COLUMNS} or None) if options else None


def options_text(options: Mapping[str, Any]) -> str | None:
    """JSON, in ASCII and free of NUL, as ``attempts_text``."""
    others = other_options(options)
    return json.dumps(_cleaned(others)) if others else None


def _cleaned(value: Any) -> Any:
    """``storable`` for whatever JSON can hold."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(str(name)): _cleaned(each) for name, each in value.items()}
    return [_cleaned(each) for each in value] if isinstance(value, list | tuple) else value


def truncated(outcome: Outcome, reason: BaseException) -> Outcome:
    """What is left of an outcome that the database refuses: no bytes, short plain text, and the reason."""
    kind, message, traceback = outcome.failure or ("", "", "")
    why = f"The record was truncated, because it could not be saved: {type(reason).__name__}: {str(reason)[:500]}"
    options = {name: _plain(value) for name, value in outcome.options.items() if isinstance(value, str)}
    return outcome._replace(
        id=_plain(outcome.id)[:32],
        name=_plain(outcome.name),
        func=_plain(outcome.func),
        worker=_plain(outcome.worker),
        options=options,
        enqueued_at=storable_moment(outcome.enqueued_at),
        started_at=storable_moment(outcome.started_at),
        stopped_at=storable_moment(outcome.stopped_at),
        arguments=None,
        result=None,
        failure=(_plain(kind), _plain(f"{why}\n{message}"), _plain(traceback)),
        payload=None,
        post_mortem=None,
    )


def _plain(text: str) -> str:
    return ascii(text)[1:-1][:MAX_REDUCED_TEXT].replace("\\n", "\n") if text else ""
