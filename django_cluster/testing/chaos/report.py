"""The report of a run, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django_cluster.testing.chaos.analysis import Analysis, Recovery, RepeatCause
from django_cluster.testing.chaos.observations import Observations
from django_cluster.testing.chaos.plan import NETWORK, FaultKind, Target

WORDS = {
    FaultKind.HOLD: "held",
    FaultKind.FORGET: "forgotten",
    FaultKind.LOSE: "losing answers",
    FaultKind.RESET: "reset",
}
PARTICIPLES = {FaultKind.KILL: "killed", FaultKind.FREEZE: "frozen", FaultKind.CLOCK: "given a wrong clock", **WORDS}


def as_text(observations: Observations, analysis: Analysis) -> str:
    lines = [f"{observations.seconds:g} seconds on {observations.broker}, seed {observations.seed}", ""]
    lines += [f"  {name:<18}{value}" for name, value in _table(observations, analysis)]
    lines.append("")
    if analysis.findings:
        lines += ["Guarantees violated:", *(f"- {finding}" for finding in analysis.findings)]
    else:
        lines.append("No task was lost, and a kill explains every repetition.")
    return "\n".join(lines)


def _table(observations: Observations, analysis: Analysis) -> Iterator[tuple[str, str]]:
    yield "Killed", _counted(observations, FaultKind.KILL) or "none"
    pauses = [injected.seconds for injected in observations.faults if injected.target is Target.SERVER]
    if pauses:
        yield "Server paused", f"{len(pauses)} ×, {sum(pauses):.1f} s in all, {max(pauses):.1f} s at most"
    if frozen := _counted(observations, FaultKind.FREEZE):
        yield "Frozen", frozen
    if disturbed := Counter(injected.kind for injected in observations.faults if injected.target is Target.NETWORK):
        yield "Network", ", ".join(f"{WORDS[kind]} {disturbed[kind]} ×" for kind in NETWORK if disturbed[kind])
    if steps := [injected.seconds for injected in observations.faults if injected.kind is FaultKind.CLOCK]:
        yield "Clock", f"set {len(steps)} ×, from {min(steps):+.0f} to {max(steps):+.0f} s from the real time"
    for obstacle in observations.not_applicable:
        yield "Not applicable", obstacle
    yield "Enqueued", str(analysis.enqueued)
    if analysis.refused:
        yield "Refused", f"{analysis.refused} calls"
    yield "Finished", str(analysis.finished)
    if analysis.cancelled:
        yield "Cancelled", str(analysis.cancelled)
    yield "Lost", str(len(analysis.lost))
    yield "Repeated", str(sum(analysis.repeated.values()))
    for reason in RepeatCause:
        if analysis.repeated.get(reason):
            yield "", f"{analysis.repeated[reason]} because {reason}"
    yield (
        "Rows",
        (
            f"{len(observations.rows)}: {len(analysis.missing_rows)} missing, "
            f"{len(analysis.duplicate_rows)} duplicate, "
            f"{len(analysis.failed_rows)} failed, {len(analysis.unknown_rows)} unknown"
        ),
    )
    yield "Slowest recovery", _recovery(observations, analysis.slowest_recovery)
    if len(analysis.recoveries) > 1:
        yield (
            "",
            "; ".join(f"{fault_type} {each.seconds:.2f} s" for fault_type, each in sorted(analysis.recoveries.items())),
        )
    yield "Slowest task", f"{analysis.slowest_task:.2f} s from being enqueued to its end"
    yield "Slowest call", f"{analysis.slowest_call:.2f} s to enqueue a task"
    messages = [f"{observations.messages_left} messages"] if observations.messages_left else []
    yield "Left behind", ", ".join([*observations.left, *messages]) or "nothing"


def _counted(observations: Observations, kind: FaultKind) -> str:
    """How many of each sort of process."""
    counts = Counter(injected.target for injected in observations.faults if injected.pid and injected.kind is kind)
    parts = [f"{counts[target]} {target}{'' if counts[target] == 1 else 's'}" for target in Target if counts[target]]
    return ", ".join(parts)


def _recovery(observations: Observations, recovery: Recovery | None) -> str:
    if recovery is None:
        return "nothing to recover from"
    done = "paused" if recovery.fault.target is Target.SERVER else PARTICIPLES.get(recovery.fault.kind, "disturbed")
    at = recovery.fault.at - observations.began
    return f"{recovery.seconds:.2f} s, after the {recovery.fault.target} was {done} at {at:.2f} s"


def as_json(observations: Observations, analysis: Analysis) -> dict[str, Any]:
    recovery = analysis.slowest_recovery
    return {
        "ok": not analysis.findings,
        "broker": observations.broker,
        "seed": observations.seed,
        "seconds": observations.seconds,
        "faults": [_fault(observations, number) for number in range(len(observations.faults))],
        "enqueued": analysis.enqueued,
        "refused": analysis.refused,
        "finished": analysis.finished,
        "cancelled": analysis.cancelled,
        "lost": len(analysis.lost),
        "repeated": {cause.name.lower(): analysis.repeated.get(cause, 0) for cause in RepeatCause},
        "rows": {
            "all": len(observations.rows),
            "missing": len(analysis.missing_rows),
            "duplicate": len(analysis.duplicate_rows),
            "failed": len(analysis.failed_rows),
            "unknown": len(analysis.unknown_rows),
        },
        "slowest_recovery": None if recovery is None else round(recovery.seconds, 3),
        "slowest_recovery_after": None if recovery is None else recovery.fault.target.value,
        "recoveries": {
            str(fault_type): round(each.seconds, 3) for fault_type, each in sorted(analysis.recoveries.items())
        },
        "slowest_task": round(analysis.slowest_task, 3),
        "slowest_call": round(analysis.slowest_call, 3),
        "not_applicable": list(observations.not_applicable),
        "left": list(observations.left),
        "messages_left": observations.messages_left,
        "findings": list(analysis.findings),
    }


def _fault(observations: Observations, number: int) -> dict[str, Any]:
    injected = observations.faults[number]
    said: dict[str, Any] = {
        "at": round(injected.at - observations.began, 3),
        "kind": injected.kind.value,
        "target": injected.target.value,
    }
    pid = {"pid": injected.pid} if injected.pid else {}
    seconds = {} if injected.kind in (FaultKind.KILL, FaultKind.RESET) else {"seconds": round(injected.seconds, 3)}
    return {**said, **pid, **seconds}
