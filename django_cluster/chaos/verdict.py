"""Evidence → verdict: a pure function, and the definitions that it rests on.

*Lost* is a task that ``async_task`` accepted and that has no row of success, or never ran to its end.

*Repeated* is every run of a task but its first. A repetition is *explained* when something that we killed
between the two beginnings takes with it what only it knew:

- the worker that was running the task,
- the worker that had run it, before the outcome was filed,
- the sentinel of that worker (its whole crew goes with it, and its orphans explain what they did last).

Nothing else explains one: not a killed pusher, monitor or scheduler, whose successors know what they must; and
nothing under which nobody dies, be it a freeze for longer than a lease, a network that holds, forgets, loses or
resets, or a clock that is wrong.

*Refused* is a call that raised ``BrokerError``. It is explained when the server was paused, or the network disturbed,
a moment before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from django_cluster.chaos.evidence import Call, Evidence, Execution, Hit
from django_cluster.chaos.plan import OUTAGES, Deed, Kind, Target

DYING = 0.05
"""Seconds from noting that we kill a process to its end, generously."""
UNDER_WAY = 0.5
"""Seconds in which a task may yet be seen to be settled that was so when an outage began."""
AFTERMATH = 15.0
"""Seconds after such a time in which a call may still be refused: the time-outs of the clients."""


class Reason(StrEnum):
    """Why a task ran again."""

    RUNNING = "its worker was killed under it"
    UNFILED = "its worker was killed before the outcome was filed"
    SENTINEL = "its sentinel was killed"
    NONE = "nobody was killed"


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long it took after a hit until the next task was settled."""

    seconds: float
    hit: Hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The books of a run."""

    enqueued: int
    finished: int
    lost: Sequence[str]
    repeated: Mapping[Reason, int]
    unexplained: Sequence[Execution]
    missing_rows: Sequence[str]
    doubled_rows: Sequence[str]
    failed_rows: Sequence[str]
    strange_rows: Sequence[str]
    """Rows of tasks that nobody enqueued."""
    refused: int
    refused_for_nothing: Sequence[Call]
    slowest_call: float
    slowest_task: float
    """Seconds from being enqueued to the end of its last run."""
    slowest_recovery: Recovery | None
    recoveries: Mapping[Deed, Recovery]
    """The slowest after each sort of fault."""
    findings: Sequence[str]
    """Every broken promise, in a sentence; none when all is well."""


def judge(evidence: Evidence) -> Verdict:
    accepted = [call.task for call in evidence.calls if call.accepted]
    by_task = _by_task(evidence.executions)
    completed = {run.task for run in evidence.executions if run.ended is not None}
    rows = Counter(row.task for row in evidence.rows)
    succeeded = {row.task for row in evidence.rows if row.success}
    known = {call.task for call in evidence.calls}
    repetitions = [
        (again, _reason(before, again, evidence)) for runs in by_task.values() for before, again in pairwise(runs)
    ]
    in_vain = [call for call in evidence.calls if not call.accepted and not _was_disturbed(call, evidence.hits)]
    recoveries = _recoveries(evidence)
    verdict = Verdict(
        enqueued=len(accepted),
        finished=sum(task in succeeded for task in accepted),
        lost=[task for task in accepted if task not in succeeded or task not in completed],
        repeated=Counter(reason for _, reason in repetitions),
        unexplained=[again for again, reason in repetitions if reason is Reason.NONE],
        missing_rows=[task for task in accepted if task not in rows],
        doubled_rows=[task for task, count in rows.items() if count > 1],
        failed_rows=[row.task for row in evidence.rows if not row.success],
        strange_rows=[task for task in rows if task not in known],
        refused=sum(not call.accepted for call in evidence.calls),
        refused_for_nothing=in_vain,
        slowest_call=max((call.ended - call.began for call in evidence.calls), default=0.0),
        slowest_task=_slowest_task(evidence, by_task),
        slowest_recovery=max(recoveries.values(), key=lambda recovery: recovery.seconds, default=None),
        recoveries=recoveries,
        findings=(),
    )
    return replace(verdict, findings=[*_findings(verdict, evidence), *evidence.incidents])


def _by_task(executions: Sequence[Execution]) -> dict[str, list[Execution]]:
    found = defaultdict(list)
    for run in sorted(executions, key=lambda run: run.began):
        found[run.task].append(run)
    return found


def _reason(before: Execution, again: Execution, evidence: Evidence) -> Reason:
    sentinel = evidence.sentinels.get(before.pid)
    earlier = [hit for hit in evidence.hits if hit.kind is Kind.KILL and hit.at < again.began]
    if any(hit.pid == before.pid and before.began <= hit.at + DYING for hit in earlier):
        return Reason.UNFILED if before.ended is not None else Reason.RUNNING
    if any(hit.target is Target.SENTINEL and hit.pid == sentinel for hit in earlier):
        return Reason.SENTINEL  # also of what its orphans did until they had noticed
    return Reason.NONE


def _was_disturbed(call: Call, hits: Sequence[Hit]) -> bool:
    return any(
        hit.target in (Target.SERVER, Target.NETWORK)
        and hit.at <= call.ended
        and call.began <= hit.at + hit.seconds + AFTERMATH
        for hit in hits
    )


def _slowest_task(evidence: Evidence, by_task: Mapping[str, Sequence[Execution]]) -> float:
    times = [
        run.ended - call.began for call in evidence.calls for run in by_task.get(call.task, ()) if run.ended is not None
    ]
    return max(times, default=0.0)


def _recoveries(evidence: Evidence) -> dict[Deed, Recovery]:
    """A hit after which there was nothing left to settle says nothing."""
    moments = [look.at for before, look in pairwise(evidence.looks) if look.done > before.done]
    slowest: dict[Deed, Recovery] = {}
    for hit in evidence.hits:
        # What was under way when everything stops may still be filed, and is no recovery.
        place = bisect_right(moments, hit.at + UNDER_WAY if hit.deed in OUTAGES else hit.at)
        if place < len(moments):
            recovery = Recovery(moments[place] - hit.at, hit)
            slowest[hit.deed] = max(slowest.get(hit.deed, recovery), recovery, key=lambda each: each.seconds)
    return slowest


def _findings(verdict: Verdict, evidence: Evidence) -> Iterator[str]:
    if not verdict.enqueued:
        yield "Nothing was enqueued, so nothing is proved."
    for tasks, what in (
        (verdict.lost, "were accepted, and are lost"),
        (verdict.missing_rows, "were accepted, and have no row"),
        (verdict.doubled_rows, "have more than one row"),
        (verdict.failed_rows, "have a row that says they failed, which they cannot"),
        (verdict.strange_rows, "have a row, and were never enqueued"),
    ):
        if tasks:
            yield f"{len(tasks)} tasks {what}: {_some(tasks)}."
    if verdict.unexplained:
        runs = [f"{run.task} (by {run.pid}, at {run.began - evidence.began:.2f} s)" for run in verdict.unexplained]
        yield f"{len(runs)} runs were repetitions although nobody had killed what held the task: {_some(runs)}."
    if verdict.refused_for_nothing:
        reasons = sorted({call.reason for call in verdict.refused_for_nothing})
        count = len(verdict.refused_for_nothing)
        yield f"{count} calls were refused although neither server nor network was disturbed: {_some(reasons)}"
    if evidence.messages_left:
        yield f"{evidence.messages_left} messages were left in the queue."
    if evidence.left:
        yield f"Left behind: {', '.join(evidence.left)}."


def _some(things: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(things) - limit} more" if len(things) > limit else ""
    return ", ".join(things[:limit]) + more
