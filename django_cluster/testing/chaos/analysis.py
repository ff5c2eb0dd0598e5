"""Analysis of the observations of a run: a pure function.

A task is *lost* if the call that enqueued it returned, it has no row of success or never ran to its end, and it was not
cancelled. A row with the status cancelled counts as failed if no cancellation of its task was requested.

Every run of a task after its first is a *repetition*. It is *explained* if, between the two starts, one of these
processes was killed:

- the worker that was running the task,
- the worker that had run it, before the outcome was recorded,
- the sentinel of that worker, since all of its processes end with it.

No other fault explains a repetition: not a killed pusher, monitor or scheduler, not a freeze of any duration, no
network fault, and no wrong clock.

A call is *refused* if it raised ``BrokerError``. It is explained by a pause of the server or a network fault within the
``OUTAGE_RECOVERY_SECONDS`` before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from django_cluster.testing.chaos.observations import EnqueueCall, Execution, InjectedFault, Observations
from django_cluster.testing.chaos.plan import OUTAGES, FaultKind, FaultType, Target

CANCELLED = "cancelled"
"""The status of the row of a cancelled task."""
KILL_DELAY_SECONDS = 0.05
"""Upper bound of the seconds between the record of a kill and the end of the process."""
IN_FLIGHT_SECONDS = 0.5
"""Seconds after the start of an outage in which tasks may be recorded that were finished before."""
OUTAGE_RECOVERY_SECONDS = 15.0
"""Seconds after the end of an outage in which calls may be refused: the timeouts of the clients."""


class RepeatCause(StrEnum):
    """Why a task ran again."""

    RUNNING = "its worker was killed while running it"
    UNRECORDED = "its worker was killed before the outcome was recorded"
    SENTINEL = "its sentinel was killed"
    NONE = "no kill explains it"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from a fault to the next task that was recorded."""

    seconds: float
    fault: InjectedFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The result of a run."""

    enqueued: int
    finished: int
    cancelled: int
    """Tasks that were cancelled before they had ended."""
    lost: Sequence[str]
    repeated: Mapping[RepeatCause, int]
    unexplained: Sequence[Execution]
    missing_rows: Sequence[str]
    duplicate_rows: Sequence[str]
    failed_rows: Sequence[str]
    unknown_rows: Sequence[str]
    """Ids of rows whose task was never enqueued."""
    refused: int
    unexplained_refusals: Sequence[EnqueueCall]
    slowest_call: float
    slowest_task: float
    """Longest time from the call to the end of the last run, in seconds."""
    slowest_recovery: Recovery | None
    recoveries: Mapping[FaultType, Recovery]
    """The slowest recovery after each type of fault."""
    findings: Sequence[str]
    """Violated guarantees, as sentences; empty if there are none."""


def analyse(observations: Observations) -> Analysis:
    accepted = [call.task for call in observations.calls if call.accepted]
    by_task = _by_task(observations.executions)
    completed = {run.task for run in observations.executions if run.ended is not None}
    rows = Counter(row.task for row in observations.rows)
    cancelled = cancelled_tasks(observations)
    succeeded = {row.task for row in observations.rows if row.success}
    known = {call.task for call in observations.calls}
    repetitions = [
        (again, _reason(before, again, observations)) for runs in by_task.values() for before, again in pairwise(runs)
    ]
    unexplained = [
        call for call in observations.calls if not call.accepted and not _was_disturbed(call, observations.faults)
    ]
    recoveries = _recoveries(observations)
    analysis = Analysis(
        enqueued=len(accepted),
        finished=sum(task in succeeded for task in accepted),
        cancelled=len(cancelled),
        lost=[task for task in accepted if task not in cancelled and (task not in succeeded or task not in completed)],
        repeated=Counter(reason for _, reason in repetitions),
        unexplained=[again for again, reason in repetitions if reason is RepeatCause.NONE],
        missing_rows=[task for task in accepted if task not in rows],
        duplicate_rows=[task for task, count in rows.items() if count > 1],
        failed_rows=[row.task for row in observations.rows if not row.success and row.task not in cancelled],
        unknown_rows=[task for task in rows if task not in known],
        refused=sum(not call.accepted for call in observations.calls),
        unexplained_refusals=unexplained,
        slowest_call=max((call.ended - call.began for call in observations.calls), default=0.0),
        slowest_task=_slowest_task(observations, by_task),
        slowest_recovery=max(recoveries.values(), key=lambda recovery: recovery.seconds, default=None),
        recoveries=recoveries,
        findings=(),
    )
    return replace(analysis, findings=[*_findings(analysis, observations), *observations.incidents])


def cancelled_tasks(observations: Observations) -> set[str]:
    """Tasks that were to be cancelled, and whose rows say that they were."""
    asked = set(observations.cancelled)
    return {row.task for row in observations.rows if row.status == CANCELLED and row.task in asked}


def _by_task(executions: Sequence[Execution]) -> dict[str, list[Execution]]:
    found = defaultdict(list)
    for run in sorted(executions, key=lambda run: run.began):
        found[run.task].append(run)
    return found


def _reason(before: Execution, again: Execution, observations: Observations) -> RepeatCause:
    sentinel = observations.sentinels.get(before.pid)
    earlier = [
        injected for injected in observations.faults if injected.kind is FaultKind.KILL and injected.at < again.began
    ]
    if any(injected.pid == before.pid and before.began <= injected.at + KILL_DELAY_SECONDS for injected in earlier):
        return RepeatCause.UNRECORDED if before.ended is not None else RepeatCause.RUNNING
    if any(injected.target is Target.SENTINEL and injected.pid == sentinel for injected in earlier):
        return RepeatCause.SENTINEL  # orphans may work on until they notice
    return RepeatCause.NONE


def _was_disturbed(call: EnqueueCall, faults: Sequence[InjectedFault]) -> bool:
    return any(
        injected.target in (Target.SERVER, Target.NETWORK)
        and injected.at <= call.ended
        and call.began <= injected.at + injected.seconds + OUTAGE_RECOVERY_SECONDS
        for injected in faults
    )


def _slowest_task(observations: Observations, by_task: Mapping[str, Sequence[Execution]]) -> float:
    times = [
        run.ended - call.began
        for call in observations.calls
        for run in by_task.get(call.task, ())
        if run.ended is not None
    ]
    return max(times, default=0.0)


def _recoveries(observations: Observations) -> dict[FaultType, Recovery]:
    """The slowest recovery by type of fault; faults after which no task was recorded are ignored."""
    moments = [later.at for before, later in pairwise(observations.progress) if later.done > before.done]
    slowest: dict[FaultType, Recovery] = {}
    for injected in observations.faults:
        # A task that was finished before an outage may still be recorded, and is no recovery.
        place = bisect_right(
            moments, injected.at + IN_FLIGHT_SECONDS if injected.fault_type in OUTAGES else injected.at
        )
        if place < len(moments):
            recovery = Recovery(moments[place] - injected.at, injected)
            slowest[injected.fault_type] = max(
                slowest.get(injected.fault_type, recovery), recovery, key=lambda each: each.seconds
            )
    return slowest


def _findings(analysis: Analysis, observations: Observations) -> Iterator[str]:
    if not analysis.enqueued:
        yield "Nothing was enqueued, so nothing was tested."
    for tasks, what in (
        (analysis.lost, "were accepted, and are lost"),
        (analysis.missing_rows, "were accepted, and have no row"),
        (analysis.duplicate_rows, "have more than one row"),
        (analysis.failed_rows, "have a row that says they failed, which they cannot"),
        (analysis.unknown_rows, "have a row, and were never enqueued"),
    ):
        if tasks:
            yield f"{len(tasks)} tasks {what}: {_some(tasks)}."
    if analysis.unexplained:
        runs = [f"{run.task} (by {run.pid}, at {run.began - observations.began:.2f} s)" for run in analysis.unexplained]
        yield f"{len(runs)} repeated runs are not explained by a kill: {_some(runs)}."
    if analysis.unexplained_refusals:
        reasons = sorted({call.reason for call in analysis.unexplained_refusals})
        count = len(analysis.unexplained_refusals)
        yield f"{count} calls were refused without a fault of server or network: {_some(reasons)}"
    if observations.messages_left:
        yield f"{observations.messages_left} messages were left in the queue."
    if observations.left:
        yield f"Left behind: {', '.join(observations.left)}."


def _some(things: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(things) - limit} more" if len(things) > limit else ""
    return ", ".join(things[:limit]) + more
