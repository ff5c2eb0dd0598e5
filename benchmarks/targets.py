"""What the project has promised itself: our number against a peer's, or against a fixed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.metrics import METRICS
from benchmarks.results import Spread

Numbers = Mapping[str, Mapping[str, Spread]]


@dataclass(frozen=True, slots=True)
class Target:
    """``factor`` times the peer's number at least (or at most, where less is better)."""

    ours: str
    metric: str
    peer: str = ""
    factor: float = 1.0
    fixed: float | None = None


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What became of a target; ``reached`` is None where a number is missing."""

    target: Target
    ours: float | None
    goal: float | None
    reached: bool | None


REDIS, PG, SQLITE = "django_cluster/redis", "django_cluster/orm-pg", "django_cluster/orm-sqlite"
FRAMEWORK = "django_cluster/tasks-orm-pg"
"""Sent as tasks of Django's framework, as those of its peers are."""

TARGETS = (
    Target(REDIS, "settled", "django-q2/redis", 15),
    Target(REDIS, "settled", "huey/redis", 2),
    Target(REDIS, "settled", "taskiq/streams", 3),
    Target(PG, "settled", "django-q2/orm-pg", 20),
    Target(PG, "settled", "procrastinate/pg", 15),
    Target(PG, "settled", "pgqueuer/pg", 1),
    Target(SQLITE, "settled", "django-q2/orm-sqlite", 10),
    *(Target(FRAMEWORK, "enqueue", peer, 3) for peer in ("django-tasks-db/pg", "django-ox/pg")),
    *(Target(FRAMEWORK, "settled", peer, 10) for peer in ("django-tasks-db/pg", "django-ox/pg")),
    Target(REDIS, "enqueue", "huey/redis", 1),
    Target(REDIS, "bulk", fixed=60_000),
    Target(REDIS, "latency_50", "huey/redis"),
    Target(REDIS, "latency_99", "huey/redis"),
    Target(PG, "latency_50", "pgqueuer/pg"),
    Target(PG, "latency_99", "pgqueuer/pg"),
    Target(REDIS, "cpu", fixed=0.07),
    Target(REDIS, "idle_pss", fixed=66),
    Target(REDIS, "idle_pss", "huey/redis"),
)


def evaluate(targets: Sequence[Target], numbers: Numbers) -> list[TargetResult]:
    return [_judge(target, numbers) for target in targets]


def _judge(target: Target, numbers: Numbers) -> TargetResult:
    ours = _median(numbers, target.ours, target.metric)
    theirs = _median(numbers, target.peer, target.metric) if target.fixed is None else target.fixed
    if ours is None or theirs is None:
        return TargetResult(target, ours, None, None)
    goal = theirs * target.factor
    return TargetResult(target, ours, goal, ours >= goal if METRICS[target.metric].more_is_better else ours <= goal)


def _median(numbers: Numbers, system: str, metric: str) -> float | None:
    found = numbers.get(system, {}).get(metric)
    return found.median if found else None
