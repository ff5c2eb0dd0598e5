"""Verdict → text for people, JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django_cluster.chaos.evidence import Evidence
from django_cluster.chaos.plan import NETWORK, Kind, Target
from django_cluster.chaos.verdict import Reason, Recovery, Verdict

WORDS = {Kind.HOLD: "held", Kind.FORGET: "forgotten", Kind.LOSE: "losing answers", Kind.RESET: "reset"}
PARTICIPLES = {Kind.KILL: "killed", Kind.FREEZE: "frozen", Kind.CLOCK: "given another clock", **WORDS}


def as_text(evidence: Evidence, verdict: Verdict) -> str:
    lines = [f"{evidence.seconds:g} seconds on {evidence.broker}, seed {evidence.seed}", ""]
    lines += [f"  {name:<18}{value}" for name, value in _table(evidence, verdict)]
    lines.append("")
    if verdict.findings:
        lines += ["The promise was broken:", *(f"- {finding}" for finding in verdict.findings)]
    else:
        lines.append("Nothing was lost, and nothing was done twice but what was killed.")
    return "\n".join(lines)


def _table(evidence: Evidence, verdict: Verdict) -> Iterator[tuple[str, str]]:
    yield "Killed", _counted(evidence, Kind.KILL) or "nobody"
    pauses = [hit.seconds for hit in evidence.hits if hit.target is Target.SERVER]
    if pauses:
        yield "Server paused", f"{len(pauses)} ×, {sum(pauses):.1f} s in all, {max(pauses):.1f} s at most"
    if frozen := _counted(evidence, Kind.FREEZE):
        yield "Frozen", frozen
    if disturbed := Counter(hit.kind for hit in evidence.hits if hit.target is Target.NETWORK):
        yield "Network", ", ".join(f"{WORDS[kind]} {disturbed[kind]} ×" for kind in NETWORK if disturbed[kind])
    if steps := [hit.seconds for hit in evidence.hits if hit.kind is Kind.CLOCK]:
        yield "Clock", f"set {len(steps)} ×, from {min(steps):+.0f} to {max(steps):+.0f} s beside the right time"
    for obstacle in evidence.not_applicable:
        yield "Not applicable", obstacle
    yield "Enqueued", str(verdict.enqueued)
    if verdict.refused:
        yield "Refused", f"{verdict.refused} calls"
    yield "Finished", str(verdict.finished)
    yield "Lost", str(len(verdict.lost))
    yield "Repeated", str(sum(verdict.repeated.values()))
    for reason in Reason:
        if verdict.repeated.get(reason):
            yield "", f"{verdict.repeated[reason]} because {reason}"
    yield (
        "Rows",
        (
            f"{len(evidence.rows)}: {len(verdict.missing_rows)} missing, {len(verdict.doubled_rows)} doubled, "
            f"{len(verdict.failed_rows)} failed, {len(verdict.strange_rows)} of nobody"
        ),
    )
    yield "Slowest recovery", _recovery(evidence, verdict.slowest_recovery)
    if len(verdict.recoveries) > 1:
        yield "", "; ".join(f"{deed} {each.seconds:.2f} s" for deed, each in sorted(verdict.recoveries.items()))
    yield "Slowest task", f"{verdict.slowest_task:.2f} s from being enqueued to its end"
    yield "Slowest call", f"{verdict.slowest_call:.2f} s to enqueue a task"
    messages = [f"{evidence.messages_left} messages"] if evidence.messages_left else []
    yield "Left behind", ", ".join([*evidence.left, *messages]) or "nothing"


def _counted(evidence: Evidence, kind: Kind) -> str:
    """How many of each sort of process."""
    counts = Counter(hit.target for hit in evidence.hits if hit.pid and hit.kind is kind)
    parts = [f"{counts[target]} {target}{'' if counts[target] == 1 else 's'}" for target in Target if counts[target]]
    return ", ".join(parts)


def _recovery(evidence: Evidence, recovery: Recovery | None) -> str:
    if recovery is None:
        return "nothing to recover from"
    done = "paused" if recovery.hit.target is Target.SERVER else PARTICIPLES.get(recovery.hit.kind, "disturbed")
    at = recovery.hit.at - evidence.began
    return f"{recovery.seconds:.2f} s, after the {recovery.hit.target} was {done} at {at:.2f} s"


def as_json(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    recovery = verdict.slowest_recovery
    return {
        "ok": not verdict.findings,
        "broker": evidence.broker,
        "seed": evidence.seed,
        "seconds": evidence.seconds,
        "hits": [_hit(evidence, number) for number in range(len(evidence.hits))],
        "enqueued": verdict.enqueued,
        "refused": verdict.refused,
        "finished": verdict.finished,
        "lost": len(verdict.lost),
        "repeated": {reason.name.lower(): verdict.repeated.get(reason, 0) for reason in Reason},
        "rows": {
            "all": len(evidence.rows),
            "missing": len(verdict.missing_rows),
            "doubled": len(verdict.doubled_rows),
            "failed": len(verdict.failed_rows),
            "strange": len(verdict.strange_rows),
        },
        "slowest_recovery": None if recovery is None else round(recovery.seconds, 3),
        "slowest_recovery_after": None if recovery is None else recovery.hit.target.value,
        "recoveries": {str(deed): round(each.seconds, 3) for deed, each in sorted(verdict.recoveries.items())},
        "slowest_task": round(verdict.slowest_task, 3),
        "slowest_call": round(verdict.slowest_call, 3),
        "not_applicable": list(evidence.not_applicable),
        "left": list(evidence.left),
        "messages_left": evidence.messages_left,
        "findings": list(verdict.findings),
    }


def _hit(evidence: Evidence, number: int) -> dict[str, Any]:
    hit = evidence.hits[number]
    said: dict[str, Any] = {"at": round(hit.at - evidence.began, 3), "kind": hit.kind.value, "target": hit.target.value}
    pid = {"pid": hit.pid} if hit.pid else {}
    seconds = {} if hit.kind in (Kind.KILL, Kind.RESET) else {"seconds": round(hit.seconds, 3)}
    return {**said, **pid, **seconds}
